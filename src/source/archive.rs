//! Files inside archives, read where they lie.

use std::io::{self, Read, Seek};

use tar::Archive;
use zip::ZipArchive;

use super::bundle::{self, Role};
use super::content::Walk;
use super::{Origin, observed};

/// `cli-flags.json` is a few kilobytes.
const LARGEST_FLAGS: u64 = 4 << 20;

impl Walk<'_> {
    pub(super) fn tar(&mut self, stream: &mut dyn Read, origin: &Origin, depth: u32) -> bool {
        let mut archive = Archive::new(stream);
        let broken = |e: io::Error| format!("is a tar that cannot be read further: {e}");
        let entries = match archive.entries() {
            Ok(entries) => entries,
            Err(e) => return self.unreadable(origin, broken(e)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return self.unreadable(origin, broken(e)),
            };
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = path(&entry.path_bytes());
            if !self.member(Box::new(entry), &path, origin, depth) {
                return false;
            }
        }
        true
    }

    pub(super) fn zip<R: Read + Seek>(&mut self, file: R, origin: &Origin, depth: u32) -> bool {
        let mut archive = match ZipArchive::new(file) {
            Ok(archive) => archive,
            Err(e) => return self.unreadable(origin, format!("is no zip that can be read: {e}")),
        };
        self.learn_flags(&mut archive, origin);
        for number in 0..archive.len() {
            let goes_on = match archive.by_index(number) {
                Ok(entry) if entry.is_file() => {
                    let path = path(entry.name_raw());
                    self.member(Box::new(entry), &path, origin, depth)
                }
                Ok(_) => true,
                Err(e) => self.unreadable(origin, format!("holds an entry that cannot be read: {e}")),
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// Reads the flags of bundles before what they speak of: a zip has a directory that says where they are.
    fn learn_flags<R: Read + Seek>(&mut self, archive: &mut ZipArchive<R>, origin: &Origin) {
        let paths: Vec<String> = archive.file_names_raw().map(path).collect();
        for (number, path) in paths.iter().enumerate() {
            if let Role::CliFlags(_) = bundle::role(path)
                && let Ok(entry) = archive.by_index(number)
            {
                self.member(Box::new(entry), path, origin, 0);
            }
        }
        for path in &paths {
            if let Role::Allocations(root) = bundle::role(path) {
                self.flags.learn_absence(&bundle_at(&root, origin));
            }
        }
    }

    /// One file inside an archive.
    fn member(&mut self, stream: Box<dyn Read + '_>, path: &str, archive: &Origin, depth: u32) -> bool {
        let file_name = path.rsplit('/').next();
        let mut origin = Origin {
            source: archive.source,
            name: format!("{}:{path}", archive.name),
            observed: observed(self.options, file_name),
            namespace: None,
            full_listing: self.options.full_listing.clone(),
            nomad_index: None,
            is_named: false,
            is_nodes: false,
        };
        match bundle::role(path) {
            Role::Allocations(root) => self.cover(&mut origin, &bundle_at(&root, archive)),
            Role::CliFlags(root) => {
                let mut text = Vec::new();
                // Whatever cannot be read of it tells nothing.
                if stream.take(LARGEST_FLAGS).read_to_end(&mut text).is_ok() {
                    self.flags.learn(bundle_at(&root, archive), &text);
                }
                return true;
            }
            Role::PassedOver(why) => return self.passed_over(&origin, why),
            Role::Other => {}
        }
        self.stream(stream, &origin, depth)
    }
}

/// The path of a file inside an archive. Only ever a name: nothing is written to where an archive says.
fn path(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_start_matches("./").to_owned()
}

/// What tells a bundle inside an archive from those at the same path in others.
fn bundle_at(root: &str, archive: &Origin) -> String {
    format!("{}:{root}", archive.name)
}
