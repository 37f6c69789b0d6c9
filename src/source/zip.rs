//! Reads the files in a zip.

use std::io::{Read, Seek};

use ::zip::ZipReadOptions;
use ::zip::read::{Config, ZipFileEntry};
use ::zip::result::{ZipError, ZipResult};
use ::zip::unstable::read::ZipIterable;

use super::Origin;
use super::archive::{LINK, bundle_at, path};
use super::bundle::{self, PathRole};
use super::sniff::InputWalk;

/// Signature of a local file header in a zip (APPNOTE.TXT 4.3.7).
const ENTRY: &[u8; 4] = b"PK\x03\x04";

impl InputWalk<'_> {
    pub(super) fn zip<R: Read + Seek>(&mut self, mut file: R, origin: &Origin, depth: u32) -> bool {
        let entries = match directory(&mut file) {
            Ok(entries) => entries,
            Err(e) => {
                let problem = format!(
                    "is a damaged zip, and nothing of it was read: the directory at its end is unreadable ({e}); \
                     copy the file again, or repair it with `zip -FF`"
                );
                return self.unreadable(origin, problem);
            }
        };
        // Read the flags of bundles before their listings; the central directory allows any order.
        let role = |entry: &ZipFileEntry<'_>| bundle::role(&path(entry.name_raw()));
        let (flags, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| matches!(role(entry), PathRole::CliFlags(_)));
        if !flags.into_iter().all(|entry| self.zipped(entry, &mut file, origin, depth)) {
            return false;
        }
        for entry in &others {
            if let PathRole::Allocations(root) = role(entry) {
                self.flags.learn_absence(&bundle_at(&root, origin));
            }
        }
        others.into_iter().all(|entry| self.zipped(entry, &mut file, origin, depth))
    }

    /// Reads an entry of a zip's central directory.
    fn zipped<R: Read + Seek>(&mut self, entry: ZipFileEntry<'_>, file: &mut R, origin: &Origin, depth: u32) -> bool {
        let path = path(entry.name_raw());
        if entry.is_dir() || self.budget.is_spent() {
            return true;
        }
        if entry.is_symlink() {
            self.miss_flags(&path, origin);
            return self.skipped(&self.inside(origin, &path), LINK);
        }
        let why = if entry.encrypted() {
            "is encrypted".to_owned()
        } else {
            match entry.with_reader(file, ZipReadOptions::new()) {
                Ok(entry) => {
                    let entry = self.budget.metered(entry);
                    return self.member(Box::new(entry), &path, origin, depth);
                }
                Err(e) => format!("cannot be read: {e}"),
            }
        };
        self.miss_flags(&path, origin);
        self.unreadable(&self.inside(origin, &path), why)
    }
}

/// All entries in a zip's central directory, including duplicate names.
fn directory<R: Read + Seek>(file: &mut R) -> ZipResult<Vec<ZipFileEntry<'static>>> {
    let entries: Vec<ZipFileEntry<'static>> =
        ZipIterable::try_new(&mut *file, Config::default())?.files()?.collect::<ZipResult<_>>()?;
    // If the directory of the outer zip was truncated, this may be the directory of a zip nested in it. The entries
    // of a nested zip do not start at the start of the file.
    let mut begin = [0; 4];
    file.rewind()?;
    file.read_exact(&mut begin)?;
    if begin == *ENTRY && entries.iter().all(|entry| entry.header_start() > 0) {
        return Err(ZipError::InvalidArchive("its end belongs to a nested zip".into()));
    }
    Ok(entries)
}
