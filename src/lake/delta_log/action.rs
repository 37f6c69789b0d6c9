//! The actions of a Delta log. Each action is one line of a commit.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::texts::Texts;
use crate::error::Result;
use crate::tables::Table;

/// The application ID of the transactions that record the last applied batch.
pub(super) const APP_ID: &str = "alloclog";

/// Tag of an `add`: the hash of the file's bytes.
pub const HASH_TAG: &str = "alloclog.xxh3";

/// Tag of an `add`: the decoded size of the file's rows in bytes.
pub const DECODED_TAG: &str = "alloclog.decoded";

/// The operation of a commit that upgrades a table to another format.
pub const UPGRADE: &str = "UPGRADE";

/// One line of a commit. Actions of other kinds are ignored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Action {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit_info: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta_data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) txn: Option<Txn>,
    /// A file that is added to the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add: Option<Add>,
    /// A file that is removed from the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Remove>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Protocol {
    pub(super) min_reader_version: i32,
    pub(super) min_writer_version: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reader_features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) writer_features: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Txn {
    pub(super) app_id: String,
    pub(super) version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_updated: Option<i64>,
}

/// A data file of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Add {
    /// Its path within the table's directory, URL-encoded.
    pub path: String,
    /// The values of the partition columns, as text.
    pub partition_values: Texts,
    /// Its size in bytes.
    pub size: i64,
    /// When it was written, in milliseconds since the epoch.
    pub modification_time: i64,
    /// True if it adds rows that the table did not have.
    pub data_change: bool,
    /// Column statistics as JSON: numRecords, minValues, maxValues, nullCount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// Tags by name; see [`HASH_TAG`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Texts>,
}

/// A data file that was removed from a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Remove {
    /// See [`Add::path`].
    pub path: String,
    /// When it was removed, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<i64>,
    /// True if its rows were removed too.
    pub data_change: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extended_file_metadata: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) partition_values: Option<Texts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<i64>,
}

impl Add {
    /// The hash of the file's bytes, see [`crate::lake::data_files::hash`]; `None` for a file of an older version of
    /// this program or of another engine.
    pub fn hash(&self) -> Option<&str> {
        self.tags.as_ref()?.get(HASH_TAG)
    }

    /// The decoded size of its rows in bytes; `None` for a file of an older version of this program or of another
    /// engine.
    pub fn decoded(&self) -> Option<u64> {
        self.tags.as_ref()?.get(DECODED_TAG)?.parse().ok()
    }

    /// The action that removes this file without removing rows.
    pub fn removed(&self, now_ms: i64) -> Action {
        let remove = Remove {
            path: self.path.clone(),
            deletion_timestamp: Some(now_ms),
            data_change: false,
            extended_file_metadata: Some(true),
            partition_values: Some(self.partition_values.clone()),
            size: Some(self.size),
        };
        Action { remove: Some(remove), ..Action::default() }
    }

    /// The action that adds this file.
    pub fn added(self) -> Action {
        Action { add: Some(self), ..Action::default() }
    }

    /// Its object name in the lake.
    pub fn object(&self, table: Table) -> String {
        let path = percent_encoding::percent_decode_str(&self.path).decode_utf8_lossy();
        format!("{}/{path}", table.name())
    }

    /// Its column statistics.
    pub fn stats(&self) -> Value {
        self.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok()).unwrap_or_default()
    }
}

impl Action {
    pub(super) fn batch(&self) -> Option<u64> {
        self.txn.as_ref().filter(|txn| txn.app_id == APP_ID).and_then(|txn| u64::try_from(txn.version).ok())
    }
}

pub(super) fn info(operation: &str, now_ms: i64) -> Action {
    let info = json!({
        "timestamp": now_ms,
        "operation": operation,
        "operationParameters": {},
        "engineInfo": concat!("alloclog/", env!("CARGO_PKG_VERSION")),
        "txnId": crate::lake::unique_uuid(),
    });
    Action { commit_info: Some(info), ..Action::default() }
}

/// The transaction action that records an applied batch.
pub(super) fn entered(batch: u64, now_ms: i64) -> Action {
    let txn = Txn { app_id: APP_ID.to_owned(), version: batch as i64, last_updated: Some(now_ms) };
    Action { txn: Some(txn), ..Action::default() }
}

pub(super) fn lines(actions: &[Action]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut bytes, action)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}
