//! Reads files inside archives without unpacking them.

use std::io::Read;

use super::bundle::{self, PathRole};
use super::sniff::InputWalk;
use super::{Origin, observed};

/// Maximum size of `cli-flags.json`, which has a few kilobytes.
const LARGEST_FLAGS: u64 = 4 << 20;

/// Why a link in an archive is skipped.
pub(super) const LINK: &str = "is a link";

impl InputWalk<'_> {
    /// If the unreadable file at `path` is the `cli-flags.json` of a bundle, records that the flags cannot be read.
    pub(super) fn miss_flags(&mut self, path: &str, archive: &Origin) {
        if let PathRole::CliFlags(root) = bundle::role(path) {
            self.flags.learn(bundle_at(&root, archive), b"");
        }
    }

    /// The facts known about a file inside an archive before it is read.
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

    /// Reads one file inside an archive.
    pub(super) fn member(&mut self, stream: Box<dyn Read + '_>, path: &str, archive: &Origin, depth: u32) -> bool {
        let mut origin = self.inside(archive, path);
        match bundle::role(path) {
            PathRole::Allocations(root) => self.set_full_listing(&mut origin, &bundle_at(&root, archive)),
            PathRole::CliFlags(root) => {
                let mut text = Vec::new();
                // Ignore flags that cannot be read completely.
                if stream.take(LARGEST_FLAGS).read_to_end(&mut text).is_err() {
                    text.clear();
                }
                self.flags.learn(bundle_at(&root, archive), &text);
                return true;
            }
            PathRole::Skipped(why) => return self.skipped(&origin, why),
            PathRole::Other => {}
        }
        self.stream(stream, &origin, depth)
    }
}

/// The path of a file inside an archive. Only used as a name: nothing is written to it.
pub(super) fn path(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_start_matches("./").to_owned()
}

/// A key that distinguishes bundles at the same path in different archives.
pub(super) fn bundle_at(root: &str, archive: &Origin) -> String {
    format!("{}:{root}", archive.name)
}
