//! The object `lake.json`, which names the format and the ID of a lake, and its repair.
//!
//! The tables prove the format, because an upgrade sets the format of every table first, and the format in `lake.json`
//! last. The ID only names caches, so a new ID makes the next ingest read the tables again.

use std::thread;

use serde::{Deserialize, Serialize};

use super::delta_log::{self, salvage};
use super::format::FORMAT;
use super::storage::{Created, Storage};
use super::{Finding, ORDER, Remedy, now_ms, unique};
use crate::error::{Context, Error, Kind, Result};

/// The name of the object.
pub(super) const LAKE: &str = "_alloclog/lake.json";

/// The content of the object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LakeFile {
    /// The format of the lake. A format newer than [`FORMAT`] is refused.
    pub format: u32,
    /// The unique ID of the lake, 32 hex digits.
    pub id: String,
    /// When the lake was created, in milliseconds since the epoch; 0 if that is unknown.
    pub created_ms: i64,
}

impl LakeFile {
    /// The description of a new lake.
    pub fn new() -> LakeFile {
        LakeFile { format: FORMAT, id: unique(), created_ms: now_ms() }
    }

    /// The bytes of the object.
    ///
    /// # Errors
    /// When the description cannot be written as JSON.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(self)?)
    }

    /// Parses the bytes of the object.
    ///
    /// # Errors
    /// [`Kind::Damaged`] when they are not a description of a lake, and [`Kind::Unsupported`] when the format is newer.
    pub fn parse(storage: &Storage, bytes: &[u8]) -> Result<LakeFile> {
        let damaged = || {
            format!(
                "lake {storage}: {LAKE} is damaged: restore it from a backup, or run `alloclog lake check --repair`, \
                 which rebuilds it from the tables"
            )
        };
        let about: LakeFile = serde_json::from_slice(bytes).or_damaged(damaged)?;
        if about.format == 0 || about.id.len() != 32 || !about.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::damaged(damaged()));
        }
        if about.format > FORMAT {
            let problem = format!(
                "lake {storage}: {LAKE} has format {}; this alloclog supports formats up to {FORMAT}: use a newer one",
                about.format
            );
            // Ignore an error: if the lake is really newer, this program may not be able to read its tables.
            let of_tables = of_tables(storage).ok().flatten();
            let doubt = of_tables.map_or(String::new(), |tables| {
                format!(
                    ". But the tables have format {}: if no newer alloclog wrote to the lake, {LAKE} is damaged, and \
                     `alloclog lake check --repair` rebuilds it",
                    tables.format
                )
            });
            return Err(Error::of(Kind::Unsupported, problem + &doubt));
        }
        Ok(about)
    }
}

/// Reads the object; `None` if no lake was created here.
///
/// # Errors
/// As [`LakeFile::parse`], and when tables exist but the object does not. In this case the directory `_alloclog` was
/// lost, together with the batches of these tables. If a new lake were created here, its batches would not list the
/// files of these tables.
pub(super) fn read(storage: &Storage) -> Result<Option<LakeFile>> {
    if let Some(bytes) = storage.get(LAKE)? {
        return LakeFile::parse(storage, &bytes).map(Some);
    }
    for table in ORDER {
        if delta_log::exists(storage, table)? {
            // `lake.json` is written before the first table. So another writer may just have created both: read it
            // again.
            let Some(bytes) = storage.get(LAKE)? else {
                return Err(Error::damaged(format!(
                    "lake {storage}: {LAKE} is missing, but there is a table {}: restore _alloclog from a backup, or run \
                     `alloclog lake check --repair`, which rebuilds it from the tables",
                    table.name()
                )));
            };
            return LakeFile::parse(storage, &bytes).map(Some);
        }
    }
    Ok(None)
}

/// Reads the object, and rebuilds it from the tables if it is missing, damaged, or has a newer format than any table.
/// Reads it a second time before rebuilding it. Returns `None` if there is neither the object nor a table. With
/// `is_dry_run` it writes nothing.
///
/// # Errors
/// When the object cannot be read or written, and when it is damaged and no table proves the format.
pub(super) fn read_to_repair(storage: &Storage, is_dry_run: bool) -> Result<Option<(LakeFile, Option<Finding>)>> {
    let mut problem = None;
    for look in 0..2 {
        if look > 0 {
            thread::sleep(super::check::SECOND_LOOK);
        }
        problem = match storage.get(LAKE)?.map(|bytes| LakeFile::parse(storage, &bytes)) {
            Some(Ok(about)) => return Ok(Some((about, None))),
            Some(Err(error)) => Some(error),
            None => None,
        };
    }
    let rebuilt = match of_tables(storage) {
        // Only a newer program can read the tables.
        Err(error) if error.kind() == Kind::Unsupported => {
            return Err(problem.filter(|problem| !problem.is_damaged()).unwrap_or(error));
        }
        rebuilt => rebuilt?,
    };
    let what = match &problem {
        None => "is missing, but there are tables".to_owned(),
        Some(error) if error.is_damaged() => "is damaged".to_owned(),
        Some(_) => "has a newer format than the tables".to_owned(),
    };
    let Some(about) = rebuilt else {
        let unproven = || {
            format!(
                "lake {storage}: {LAKE} is damaged, and no log of a table says the format: restore one of them from a backup"
            )
        };
        return problem.map_or(Ok(None), |error| Err(error).with_context(unproven));
    };
    let finding = Finding { what: format!("lake {storage}: {LAKE} {what}"), remedy: Remedy::Repair };
    let about = match is_dry_run {
        true => about,
        false if problem.is_some() => {
            storage.put(LAKE, about.bytes()?)?;
            about
        }
        false => match storage.create(LAKE, about.bytes()?)? {
            Created::Ours => about,
            Created::Taken(theirs) => LakeFile::parse(storage, &theirs)?,
        },
    };
    Ok(Some((about, Some(finding))))
}

/// The description of a lake with these tables, under a new ID; `None` if no log says the format.
///
/// Takes the lowest format of any table. So after an interrupted upgrade, the next writer continues the upgrade.
fn of_tables(storage: &Storage) -> Result<Option<LakeFile>> {
    let mut found: Option<(u32, Option<i64>)> = None;
    for table in ORDER {
        let state = salvage::read_until(storage, table, i64::MAX, &mut |_| {})?.state;
        if let Some((format, created_ms)) = state.definition() {
            let (lowest, first) = found.unwrap_or((format, created_ms));
            found = Some((lowest.min(format), first.into_iter().chain(created_ms).min()));
        }
    }
    Ok(found.map(|(format, created_ms)| LakeFile { format, id: unique(), created_ms: created_ms.unwrap_or_default() }))
}
