//! Puts documents on disk as users have them: plain, compressed, in archives.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::Taking;
use crate::simulator::Random;

/// Writes each taking into a directory of its own, packed at random, and gives what to name as sources.
pub fn write(takings: &[Taking], root: &Path, random: &mut Random) -> Vec<PathBuf> {
    let mut sources = vec![];
    for (number, taking) in takings.iter().enumerate() {
        let directory = root.join(format!("d{number}"));
        fs::create_dir_all(&directory).expect("a directory");
        let files: Vec<(&str, &[u8])> = taking.documents().iter().map(|d| (d.name.as_str(), &d.bytes[..])).collect();
        sources.push(pack(&files, &directory, random));
    }
    sources
}

/// The files packed somehow.
fn pack(files: &[(&str, &[u8])], directory: &Path, random: &mut Random) -> PathBuf {
    match (random.below(6), files) {
        (0, _) => save(directory, "a.tar", &tar(files)),
        (1, _) => save(directory, "a.tar.gz", &gzip(&tar(files))),
        (2, _) => save(directory, "a.tar.zst", &zstd::encode_all(&tar(files)[..], 1).expect("compressed")),
        (3, _) => save(directory, "a.zip", &zip(files, random)),
        (4, [(name, bytes)]) => save(directory, &format!("{name}.gz"), &gzip(bytes)),
        (5, [(name, bytes)]) => {
            save(directory, &format!("{name}.zst"), &zstd::encode_all(*bytes, 1).expect("compressed"))
        }
        (_, [(name, bytes)]) => save(directory, name, bytes),
        (_, files) => {
            for (name, bytes) in files {
                save(directory, name, bytes);
            }
            directory.to_owned()
        }
    }
}

/// Writes a file, whose name may have directories.
pub fn save(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(&path, bytes).expect("written");
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // In two members, as files that were compressed and then appended to each other are.
    let mut out = vec![];
    for part in [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]] {
        let mut encoder = GzEncoder::new(vec![], Compression::fast());
        encoder.write_all(part).expect("compressed");
        out.extend(encoder.finish().expect("compressed"));
    }
    out
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, *bytes).expect("archived");
    }
    builder.into_inner().expect("archived")
}

fn zip(files: &[(&str, &[u8])], random: &mut Random) -> Vec<u8> {
    let mut out = ZipWriter::new(std::io::Cursor::new(vec![]));
    for (name, bytes) in files {
        let method = *random.pick(&[zip::CompressionMethod::Deflated, zip::CompressionMethod::Stored]);
        out.start_file(*name, SimpleFileOptions::default().compression_method(method)).expect("archived");
        out.write_all(bytes).expect("archived");
    }
    out.finish().expect("archived").into_inner()
}
