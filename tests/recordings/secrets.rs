//! Full allocations and streams contain jobs, and jobs contain secrets. No table stores any of these secrets.

use std::collections::BTreeSet;
use std::path::Path;

use alloclog::intake::IntakeOptions;
use alloclog::tables::Table;
use serde_json::{Deserializer, Value};

use super::documents::{self, Found};
use super::{recording, sample, unpacked};
use crate::support::{Taken, take};

/// The minimum length of the texts that are searched. Shorter texts may occur elsewhere by chance.
const TELLING: usize = 8;

/// The keys under which documents of the recording contain jobs.
const JOBS: [&str; 4] = ["Job", "Jobs", "JobVersions", "Versions"];

/// The texts inside jobs, and the texts of allocations and nodes outside of jobs.
#[derive(Default)]
struct Texts {
    jobs: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Texts {
    fn of(sources: &[&Path]) -> Texts {
        let mut texts = Texts::default();
        for document in sources.iter().flat_map(|source| documents::of(source)) {
            for value in Deserializer::from_slice(&document.bytes).into_iter::<Value>().map_while(Result::ok) {
                jobs(&value, false, &mut texts.jobs);
                documents::walk_value(value, &mut |found| match found {
                    Found::Allocation(a) | Found::Streamed(a) | Found::Node(a) => others(&a, &mut texts.others),
                    Found::List | Found::Other => {}
                });
            }
        }
        texts
    }

    /// The texts that occur only in jobs.
    fn secret(&self) -> Vec<&str> {
        let elsewhere = self.others.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let telling = self.jobs.iter().filter(|text| text.len() >= TELLING);
        telling.map(String::as_str).filter(|text| !elsewhere.contains(text)).collect()
    }
}

/// The texts inside jobs.
fn jobs(value: &Value, inside: bool, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if inside => add(text, texts),
        Value::Array(elements) => elements.iter().for_each(|element| jobs(element, inside, texts)),
        Value::Object(members) => {
            for (name, value) in members {
                if inside {
                    add(name, texts);
                }
                jobs(value, inside || JOBS.contains(&name.as_str()), texts);
            }
        }
        _ => {}
    }
}

/// The texts outside jobs.
fn others(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => add(text, texts),
        Value::Array(elements) => elements.iter().for_each(|element| others(element, texts)),
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| !JOBS.contains(&name.as_str())) {
                add(name, texts);
                others(value, texts);
            }
        }
        _ => {}
    }
}

fn add(text: &str, texts: &mut BTreeSet<String>) {
    if !texts.contains(text) {
        texts.insert(text.to_owned());
    }
}

/// Every text in every row, once.
fn kept(taken: &Taken) -> String {
    let mut texts = BTreeSet::new();
    for table in Table::ALL {
        texts.extend(taken.table(table).iter().flat_map(|row| row.values().filter_map(Value::as_str)));
    }
    texts.into_iter().collect::<Vec<_>>().join("\n")
}

fn check(sources: &[&Path]) -> usize {
    let texts = Texts::of(sources);
    let secret = texts.secret();
    let kept = kept(&take(sources, &IntakeOptions::default()));
    assert!(kept.contains("Task received by client"), "the tables contain texts");
    for text in &secret {
        assert!(!kept.contains(*text), "a text of a job was stored: {text}");
    }
    secret.len()
}

#[test]
fn no_job_text_of_a_sample_is_stored() {
    assert!(check(&[&sample("allocation.json"), &sample("snapshot-state.json.zst"), &sample("stream.ndjson.zst")]) > 9);
}

#[test]
fn no_job_text_of_the_recording_is_stored() {
    let Some(recording) = recording() else { return };
    let read = unpacked(&recording, "read.tar.zst");
    assert!(check(&[&read, &recording.join("snapshot-state.json.zst"), &recording.join("stream.ndjson.zst")]) > 50);
}

#[test]
fn signed_identities_are_not_stored() {
    // Nomad 1.8 included the tokens of tasks in full allocations.
    let text = String::from_utf8(documents::read(&sample("allocation.json"))).expect("JSON is text");
    let text = text.replacen('{', r#"{"SignedIdentities":{"t":"eyJhbGciOiJSUzI1NiJ9.e30.c2ln"},"#, 1);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("a file");
    let taken = take(&[file.path()], &IntakeOptions::default());
    assert!(taken.table(Table::TaskEvents).len() == 10 && taken.notes.is_empty());
    assert!(!kept(&taken).contains("eyJ"));
}

#[test]
fn credentials_in_the_addresses_of_artifacts_are_masked() {
    let taken = take(&[&sample("cluster")], &IntakeOptions::default());
    let kept = kept(&taken);
    assert!(kept.contains("http://***@127.0.0.1:1/x,%22y%22.tgz?sig=***"));
    assert!(!kept.contains("s3cret") && !kept.contains("sig=abc"));
}
