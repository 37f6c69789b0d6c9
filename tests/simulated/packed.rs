//! Writes documents to disk as users store them: plain, compressed, and in directories and archives.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::simulator::{Document, Random};

/// A command-line argument, and its documents in order of arrival.
#[derive(Debug, Clone)]
pub struct Source<'d> {
    pub path: PathBuf,
    /// The documents, with their names in the ledger.
    pub documents: Vec<(String, &'d Document)>,
}

/// Writes the snapshots to disk, each alone or several together, packed in a random way.
pub fn write<'d>(snapshots: &'d [Vec<Document>], root: &Path, random: &mut Random) -> Vec<Source<'d>> {
    let mut sources = vec![];
    let mut rest = snapshots;
    while !rest.is_empty() {
        let together = if random.chance(35) { 1 + random.below(rest.len().min(4)) } else { 1 };
        let (group, more) = rest.split_at(together);
        // Each snapshot gets a directory, since many documents have the same name.
        let named = group.iter().enumerate().flat_map(|(number, documents)| {
            documents.iter().map(move |document| (format!("look{number}/{}", document.name), document))
        });
        let files: Vec<(String, &Document)> = named.collect();
        sources.push(pack(&files, &root.join(format!("source{}", sources.len())), random));
        rest = more;
    }
    sources
}

/// Packs files into a directory or an archive.
fn pack<'d>(files: &[(String, &'d Document)], directory: &Path, random: &mut Random) -> Source<'d> {
    if let [(_, document)] = files
        && random.chance(60)
    {
        return single(document, directory, random);
    }
    let archived = |name: &str, bytes: Vec<u8>| {
        let path = save(directory, name, &bytes);
        let inner = if name.starts_with("nested") { "inner.zip:" } else { "" };
        let named =
            |(file, document): &(String, &'d Document)| (format!("{}:{inner}{file}", path.display()), *document);
        Source { documents: files.iter().map(named).collect(), path }
    };
    match random.below(6) {
        0 => archived("a.tar", tar(files)),
        1 => archived("a.tar.gz", gzip(&tar(files), random)),
        2 => archived("a.tar.zst", zstd(&tar(files))),
        3 => archived("a.zip", zip(files, random)),
        4 => {
            let inner = Document { bytes: zip(files, random), ..Document::default() };
            archived("nested.tgz", gzip(&tar(&[("inner.zip".into(), &inner)]), random))
        }
        _ => {
            let saved = files.iter().map(|(name, document)| (save(directory, name, &document.bytes), *document));
            let mut saved: Vec<(PathBuf, &Document)> = saved.collect();
            saved.sort_by(|a, b| a.0.as_os_str().cmp(b.0.as_os_str()));
            let documents = saved.into_iter().map(|(path, document)| (path.display().to_string(), document));
            Source { documents: documents.collect(), path: directory.to_owned() }
        }
    }
}

/// Writes a document to a separate file.
fn single<'d>(document: &'d Document, directory: &Path, random: &mut Random) -> Source<'d> {
    let name = document.name.replace('/', "-");
    let path = match random.below(4) {
        0 => save(directory, &format!("{name}.gz"), &gzip(&document.bytes, random)),
        1 => save(directory, &format!("{name}.zst"), &zstd(&document.bytes)),
        _ => save(directory, &name, &document.bytes),
    };
    Source { documents: vec![(path.display().to_string(), document)], path }
}

/// Writes a file, whose name may contain directories.
pub fn save(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
    fs::write(&path, bytes).expect("a file can be written");
    path
}

/// Compresses to one gzip member, or to two, as when files are appended.
pub fn gzip(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let middle = if random.chance(50) { random.below(bytes.len()) } else { bytes.len() };
    let mut out = vec![];
    for part in [&bytes[..middle], &bytes[middle..]] {
        let mut encoder = GzEncoder::new(vec![], Compression::fast());
        encoder.write_all(part).expect("bytes that can be compressed");
        out.extend(encoder.finish().expect("bytes that can be compressed"));
    }
    out
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("bytes that can be compressed")
}

pub fn tar(files: &[(String, &Document)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    for (name, document) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(document.bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, &document.bytes[..]).expect("a file that can be archived");
    }
    builder.into_inner().expect("files that can be archived")
}

pub fn zip(files: &[(String, &Document)], random: &mut Random) -> Vec<u8> {
    let mut out = ZipWriter::new(Cursor::new(vec![]));
    for (name, document) in files {
        let method = *random.pick(&[zip::CompressionMethod::Deflated, zip::CompressionMethod::Stored]);
        let options = SimpleFileOptions::default().compression_method(method);
        out.start_file(name.as_str(), options).expect("a file that can be archived");
        out.write_all(&document.bytes).expect("a file that can be archived");
    }
    out.finish().expect("files that can be archived").into_inner()
}
