//! A truncated document gives the allocations that it still contains completely. It is reported as damaged.

use std::io::Read;

use alloclog::intake::{IntakeOptions, Note};
use anyhow::ensure;
use flate2::read::MultiGzDecoder;
use serde::de::IgnoredAny;

use super::compare::{Arrival, check};
use super::snapshot_schedule::{Case, cases};
use super::{directory, for_all, packed};
use crate::simulator::{Cluster, Document, Random};
use crate::support::{Taken, take};

/// The offset at which the magic word of a tar ends.
const USTAR: usize = 262;

#[test]
fn a_truncated_document_gives_its_complete_part() {
    for_all(60, cases(1), |case| {
        let (cluster, mut random) = (case.cluster(), case.random());
        let Some(document) = documents(case, &cluster).pop() else { return Ok(()) };
        for _ in 0..6 {
            let cut = document.cut(place(&document, &mut random));
            let rejected = usize::from(!is_whole(&cut.bytes));
            check_cut(&cluster, &cut, "", &cut.bytes, rejected)?;
        }
        Ok(())
    });
}

#[test]
fn a_truncated_compressed_document_gives_its_complete_part() {
    for_all(40, cases(1), |case| {
        let (cluster, mut random) = (case.cluster(), case.random());
        let Some(document) = documents(case, &cluster).pop() else { return Ok(()) };
        let is_gzip = random.chance(50);
        let packed = if is_gzip { packed::gzip(&document.bytes, &mut random) } else { packed::zstd(&document.bytes) };
        for _ in 0..4 {
            let packed = &packed[..random.below(packed.len())];
            let mut bytes = vec![];
            // `bytes` gets the bytes that can be decompressed before the error.
            let unpacked = if is_gzip {
                MultiGzDecoder::new(packed).read_to_end(&mut bytes)
            } else {
                zstd::Decoder::new(packed)?.read_to_end(&mut bytes)
            };
            let cut = document.cut(bytes.len());
            ensure!(cut.bytes == bytes, "the decompressed bytes are not a prefix of the original");
            // The first bytes show the format, so the format is not detected without them.
            let is_known = packed.len() >= if is_gzip { 2 } else { 4 };
            let is_damaged = unpacked.is_err() && is_known;
            let rejected = usize::from(is_damaged) + usize::from(!is_whole(&bytes));
            check_cut(&cluster, &cut, ".x", packed, rejected)?;
        }
        Ok(())
    });
}

#[test]
fn a_truncated_tar_gives_its_complete_part() {
    for_all(40, cases(3), |case| {
        let (cluster, mut random) = (case.cluster(), case.random());
        let documents = documents(case, &cluster);
        let named = documents.iter().enumerate().map(|(n, document)| (format!("look{n}/{}", document.name), document));
        let files: Vec<(String, &Document)> = named.collect();
        if files.is_empty() {
            return Ok(());
        }
        let tar = packed::tar(&files);
        for _ in 0..4 {
            let ending = if random.chance(30) { tar.len().min(3000) } else { tar.len() };
            let at = tar.len() - 1 - random.below(ending);
            check_tar(&cluster, &files, at, &tar[..at], false)?;
        }
        let gzip = packed::gzip(&tar, &mut random);
        for _ in 0..4 {
            let gzip = &gzip[..2 + random.below(gzip.len() - 2)];
            let mut unpacked = vec![];
            let is_broken = MultiGzDecoder::new(gzip).read_to_end(&mut unpacked).is_err();
            check_tar(&cluster, &files, unpacked.len(), gzip, is_broken)?;
        }
        Ok(())
    });
}

/// Reads a tar of these files, truncated at `at`, and checks the result. `is_broken` says whether decompression fails
/// there.
fn check_tar(
    cluster: &Cluster,
    files: &[(String, &Document)],
    at: usize,
    bytes: &[u8],
    is_broken: bool,
) -> anyhow::Result<()> {
    // Each file follows a header of 512 bytes, and is padded to a multiple of 512 bytes.
    let (mut from, mut cuts, mut is_between) = (0, vec![], false);
    for (name, document) in files {
        let (begin, end) = (from + 512, from + 512 + document.bytes.len());
        is_between |= at == from;
        if at >= begin {
            cuts.push((name, document.cut(at - begin), usize::from(at < end)));
        }
        from = end.next_multiple_of(512);
    }
    // Two blocks of zeros follow the last file. The reader needs only one of them.
    let end = from + 512;
    is_between |= at == from;
    let is_damaged = if at < USTAR { is_broken } else { at < end && (!is_between || is_broken) };
    // A tar that ends between two files may be whole for its writer, but has no end marker.
    let is_open = at >= USTAR && at < end && is_between && !is_broken;
    let directory = directory()?;
    let path = packed::save(directory.path(), "a.tar", bytes);
    let mut taken = take(&[&path], &IntakeOptions::default());
    let is_said = without_note(&mut taken, "is a tar that cannot be read further")
        || at < USTAR && without_note(&mut taken, "cannot be read: ");
    ensure!(is_said == is_damaged, "cut at {at}: {is_said}, {:?}", taken.notes);
    let is_open_said = without_note(&mut taken, "is a tar without an end marker");
    ensure!(is_open_said == is_open, "cut at {at}: {is_open_said}, {:?}", taken.notes);
    let arrivals = cuts.iter().map(|(name, document, broken)| Arrival {
        source: format!("{}:{name}", path.display()),
        document,
        rejected: broken + usize::from(!is_whole(&document.bytes)),
    });
    check(cluster, &arrivals.collect::<Vec<_>>(), &|_| true, &taken)
}

/// The directory of a zip is at its end. Without the directory, the program cannot know where an entry ends.
#[test]
fn a_truncated_zip_is_rejected_whole() {
    for_all(40, cases(2), |case| {
        let (cluster, mut random) = (case.cluster(), case.random());
        let Some(document) = documents(case, &cluster).into_iter().next() else { return Ok(()) };
        let zip = packed::zip(&[(document.name.clone(), &document)], &mut random);
        for _ in 0..6 {
            let at = 4 + random.below(zip.len() - 4);
            let directory = directory()?;
            let path = packed::save(directory.path(), "a.zip", &zip[..at]);
            let taken = take(&[&path], &IntakeOptions::default());
            let is_rejected = matches!(&taken.notes[..], [Note::Rejected(why)] if why.contains("is a damaged zip"));
            ensure!(is_rejected && taken.rows.is_empty(), "cut at {at}: {taken:?}");
        }
        Ok(())
    });
}

/// Reads a truncated file, and checks the result.
fn check_cut(cluster: &Cluster, cut: &Document, ending: &str, bytes: &[u8], rejected: usize) -> anyhow::Result<()> {
    let directory = directory()?;
    let path = packed::save(directory.path(), &format!("{}{ending}", cut.name), bytes);
    let taken = take(&[&path], &IntakeOptions::default());
    let arrival = Arrival { source: path.display().to_string(), document: cut, rejected };
    check(cluster, &[arrival], &|_| true, &taken)
}

/// Removes a note. Returns whether the note existed.
fn without_note(taken: &mut Taken, words: &str) -> bool {
    let is_it = |note: &Note| matches!(note, Note::Rejected(text) if text.contains(words));
    let place = taken.notes.iter().position(is_it);
    place.map(|place| taken.notes.remove(place)).is_some()
}

/// The documents of a case that show allocations. A document of a bundle is taken out of the bundle, so it has no time
/// in its name and is not a full listing.
fn documents(case: &Case, cluster: &Cluster) -> Vec<Document> {
    let documents = case.documents(cluster).into_iter().flatten();
    let documents = documents.filter(|document| !document.is_aside && !document.ends.is_empty());
    let alone = |document: Document| {
        if document.name.contains('/') { Document { listing: None, ..document.unnamed() } } else { document }
    };
    documents.map(alone).collect()
}

/// A random offset, often near the end of an allocation.
fn place(document: &Document, random: &mut Random) -> usize {
    match random.below(3) {
        0 => (*random.pick(&document.ends) + 3).saturating_sub(random.below(7)),
        _ => random.below(document.bytes.len()),
    }
}

/// Returns true if a text is complete JSON, or empty.
fn is_whole(text: &[u8]) -> bool {
    let bom = b"\xef\xbb\xbf";
    // A text that is only the beginning of a byte order mark counts as empty.
    let text = text.strip_prefix(bom).unwrap_or(if bom.starts_with(text) { b"" } else { text });
    serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>().all(|value| value.is_ok())
}
