//! Files inside archives, read where they lie.

use std::io::Read;

use super::bundle::{self, Role};
use super::content::Walk;
use super::{Origin, observed};

/// `cli-flags.json` is a few kilobytes.
const LARGEST_FLAGS: u64 = 4 << 20;

/// Why a link in an archive is passed over.
pub(super) const LINK: &str = "is a link, which holds nothing itself";

impl Walk<'_> {
    /// Remembers that a file in an archive that holds a bundle's flags cannot be read, if it is one.
    pub(super) fn miss_flags(&mut self, path: &str, archive: &Origin) {
        if let Role::CliFlags(root) = bundle::role(path) {
            self.flags.learn(bundle_at(&root, archive), b"");
        }
    }

    /// What is known of a file inside an archive before its content is.
    pub(super) fn inside(&self, archive: &Origin, path: &str) -> Origin {
        let file_name = path.rsplit('/').next();
        Origin {
            source: archive.source,
            name: format!("{}:{path}", archive.name),
            observed: observed(self.options, file_name),
            namespace: None,
            full_listing: self.options.full_listing.clone(),
            nomad_index: None,
            is_named: false,
            is_nodes: false,
            is_stream: false,
        }
    }

    /// One file inside an archive.
    pub(super) fn member(&mut self, stream: Box<dyn Read + '_>, path: &str, archive: &Origin, depth: u32) -> bool {
        let mut origin = self.inside(archive, path);
        match bundle::role(path) {
            Role::Allocations(root) => self.cover(&mut origin, &bundle_at(&root, archive)),
            Role::CliFlags(root) => {
                let mut text = Vec::new();
                // What cannot be read whole tells nothing.
                if stream.take(LARGEST_FLAGS).read_to_end(&mut text).is_err() {
                    text.clear();
                }
                self.flags.learn(bundle_at(&root, archive), &text);
                return true;
            }
            Role::PassedOver(why) => return self.passed_over(&origin, why),
            Role::Other => {}
        }
        self.stream(stream, &origin, depth)
    }
}

/// The path of a file inside an archive. Only ever a name: nothing is written to where an archive says.
pub(super) fn path(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_start_matches("./").to_owned()
}

/// What tells a bundle inside an archive from those at the same path in others.
pub(super) fn bundle_at(root: &str, archive: &Origin) -> String {
    format!("{}:{root}", archive.name)
}
