//! `--redact`: every view gives the same numbers as with names, and no name is in the output.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use alloclog::query::{Row, VIEWS};
use alloclog::redact::{NameKind, Redactor};
use alloclog::tables::{Table, is_free_text};
use serde_json::Value;

use crate::recordings::recording;
use crate::sandbox::{Sandbox, sample};
use crate::view_store::ViewStore;

const KEY: &[u8] = b"the key of these tests, which is long enough";

/// Names in the samples that are also words that Nomad or a report uses.
const WORDS: [&str; 5] = ["batch", "full", "missing", "oom", "restarts"];

/// The content of a text column of a view.
enum Holds {
    Name(NameKind),
    AllocationName,
    Id,
    /// A free text. A redaction replaces the text, but keeps null and an empty text.
    FreeText,
    /// A word that Nomad or the view uses.
    Word,
}

fn holds(column: &str) -> Holds {
    match column {
        "region" => Holds::Name(NameKind::Region),
        "namespace" => Holds::Name(NameKind::Namespace),
        "job_id" | "parent_job_id" => Holds::Name(NameKind::Job),
        "task_group" => Holds::Name(NameKind::TaskGroup),
        "task" => Holds::Name(NameKind::Task),
        "node_name" => Holds::Name(NameKind::Node),
        "node_class" => Holds::Name(NameKind::NodeClass),
        "node_pool" => Holds::Name(NameKind::NodePool),
        "datacenter" => Holds::Name(NameKind::Datacenter),
        "name" => Holds::AllocationName,
        "previous_allocation" | "next_allocation" | "preempted_by" => Holds::Id,
        id if ["alloc_id", "node_id", "eval_id", "deployment_id"].iter().any(|end| id.ends_with(end)) => Holds::Id,
        text if is_free_text(text) => Holds::FreeText,
        _ => Holds::Word,
    }
}

/// A row as text. If there is a redactor, names are replaced by their pseudonyms. A free text that is not empty becomes
/// `a text`.
fn renamed(row: &Row, redactor: Option<&Redactor>) -> String {
    let own = |name: &str| row.get(name).as_str();
    let renamed = |(column, value): &(String, Value)| {
        let text = match value {
            Value::String(text) => text,
            Value::Number(hash) if column == "text_hash" => {
                let hash = hash.as_i64().map_or(0, |hash| hash as i32);
                return format!("{column}={}", redactor.map_or(hash, |redactor| redactor.text_hash(hash)));
            }
            other => return format!("{column}={other}"),
        };
        let text = match (holds(column), redactor) {
            (Holds::FreeText, _) => if text.is_empty() { "" } else { "a text" }.to_owned(),
            (Holds::Word, _) | (_, None) => text.clone(),
            (Holds::Name(kind), Some(redactor)) => redactor.name(kind, text),
            (Holds::Id, Some(redactor)) => redactor.id(text),
            (Holds::AllocationName, Some(redactor)) => redactor.allocation_name(text, own("job_id"), own("task_group")),
        };
        format!("{column}={text}")
    };
    row.0.iter().map(renamed).collect::<Vec<_>>().join(", ")
}

/// Checks that `--redact` changes only names, IDs and texts in the rows of each view.
pub fn check_views(paths: &[&Path]) -> anyhow::Result<()> {
    let redactor = Redactor::new(KEY);
    let (with_names, redacted) = (ViewStore::of(paths)?, ViewStore::redacted(paths, KEY)?);
    for view in VIEWS {
        let rows = |store: &ViewStore, redactor| -> anyhow::Result<Vec<String>> {
            let mut rows: Vec<String> = store.rows(view.name)?.iter().map(|row| renamed(row, redactor)).collect();
            rows.sort_unstable();
            Ok(rows)
        };
        let (expected, found) = (rows(&with_names, Some(&redactor))?, rows(&redacted, None)?);
        let differing = expected.iter().zip(&found).find(|(expected, found)| expected != found);
        anyhow::ensure!(expected.len() == found.len() && differing.is_none(), "{}: {differing:#?}", view.name);
    }
    Ok(())
}

#[test]
fn views_of_redacted_samples_have_the_same_numbers() {
    for source in ["", "cluster", "nomad-0.6", "stream.ndjson.zst"] {
        check_views(&[&PathBuf::from(sample(source))]).unwrap_or_else(|problem| panic!("{source}: {problem:#}"));
    }
}

#[test]
fn views_of_redacted_recordings_have_the_same_numbers() {
    let Some(newest) = recording() else { return };
    let Some(all) = newest.parent() else { return };
    for name in ["nomad-0.6/snaps.tar.zst", "nomad-0.9/snaps.tar.zst", "nomad-2.0/snaps.tar.zst"] {
        let path = all.join(name);
        if path.exists() {
            check_views(&[&path]).unwrap_or_else(|problem| panic!("{name}: {problem:#}"));
        }
    }
}

#[test]
fn redacted_texts_match_every_pattern_of_the_views_that_they_matched() {
    let redactor = Redactor::new(KEY);
    let queries = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let mut patterns = BTreeSet::new();
    for entry in fs::read_dir(queries).expect("queries/") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a view");
        for (before, pattern) in text
            .match_indices(" LIKE '")
            .map(|(at, word)| {
                text[..at].rsplit(['\n', ' ', '(']).next().zip(text[at + word.len()..].split('\'').next())
            })
            .map(|found| found.expect("a pattern"))
        {
            let column = before.rsplit('.').next().unwrap_or_default();
            // The word before LIKE is the column, or NOT in the case of `NOT LIKE`. Patterns after NOT LIKE are not
            // checked.
            if !["job_id", "details", "NOT"].contains(&column) {
                assert!(is_free_text(column), "{column} LIKE '{pattern}'");
                patterns.insert(pattern.to_owned());
            }
        }
    }
    assert!(patterns.len() >= 15, "{patterns:?}");
    let matches = |text: &str, pattern: &str| match (pattern.strip_prefix('%'), pattern.strip_suffix('%')) {
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('%')),
        (None, Some(begin)) => text.starts_with(begin),
        other => panic!("{pattern}: this test does not support this form of pattern: {other:?}"),
    };
    for pattern in &patterns {
        for text in [pattern.replace('%', " db1 "), pattern.trim_matches('%').to_owned()] {
            for text in [text.clone(), format!("{text} because of db1"), format!("db1: {text}"), text.to_lowercase()] {
                let redacted = redactor.text(&text);
                for other in &patterns {
                    assert_eq!(matches(&redacted, other), matches(&text, other), "{other}: {text}: {redacted}");
                }
                assert!(!redacted.contains("db1"), "{redacted}");
            }
        }
    }
}

/// The names, IDs and texts of rows.
fn secrets(store: &ViewStore) -> anyhow::Result<BTreeSet<String>> {
    let redactor = Redactor::new(KEY);
    let mut secrets = BTreeSet::new();
    for table in Table::ALL {
        for row in store.rows(table.name())? {
            for (column, value) in &row.0 {
                let Some(text) = value.as_str() else { continue };
                let changes = match (column.as_str(), holds(column)) {
                    ("source" | "content_hash", _) => true,
                    (_, Holds::Name(kind)) => redactor.name(kind, text) != text,
                    (_, Holds::FreeText) => redactor.text(text) != text,
                    (_, Holds::Id | Holds::AllocationName) => true,
                    (_, Holds::Word) => false,
                };
                if changes && !text.is_empty() {
                    secrets.insert(text.to_owned());
                }
            }
        }
    }
    Ok(secrets)
}

#[test]
fn no_name_id_or_text_leaves() {
    let sandbox = Sandbox::new();
    let (samples, key) = (sample(""), sandbox.path("key").to_string_lossy().into_owned());
    let secrets = secrets(&ViewStore::of(&[&PathBuf::from(&samples)]).unwrap()).unwrap();
    assert!(secrets.len() > 300 && secrets.contains("crash-delay"), "{}", secrets.len());
    let redact = ["--redact", "--redact-key", &key, "-q"];
    let mut outputs: BTreeMap<String, String> = BTreeMap::new();
    let every: Vec<&str> =
        Table::ALL.iter().map(|table| table.name()).chain(VIEWS.iter().map(|view| view.name)).collect();
    let tables = every.join(",");
    let export =
        ["export", &samples, "-o", "tables", "--format", "ndjson", "--namespace", "default", "--table", &tables];
    sandbox.run(&[&export[..], &redact].concat()).exits_with(0);
    for (name, bytes) in sandbox.files("tables") {
        outputs.insert(name, String::from_utf8(bytes).expect("text"));
    }
    assert!(outputs["_export.json"].contains("redacted_with"), "{}", outputs["_export.json"]);
    for format in ["terminal", "markdown", "json", "html"] {
        let ran = sandbox.run(&[&["report", &samples, "--format", format, "--top", "100"], &redact[..]].concat());
        outputs.insert(format!("report as {format}"), ran.exits_with(0).out);
        let arguments = ["timeline", "crash-delay", &samples, "--format", format, "--trace", "trace.json"];
        let ran = sandbox.run(&[&arguments, &redact[..]].concat()).exits_with(0);
        assert!(ran.out.contains("Terminated"), "{}", ran.out);
        outputs.insert(format!("timeline as {format}"), ran.out);
    }
    outputs.insert("trace".into(), fs::read_to_string(sandbox.path("trace.json")).expect("a trace"));
    for (name, text) in &outputs {
        // Remove values of the column `origin` and the scope of trace events, because the samples have names like them.
        let text = [r#""origin":"api""#, r#""origin": "api""#, r#""s":"t""#, r#""s": "t""#]
            .iter()
            .fold(text.clone(), |text, word| text.replace(word, ""));
        for secret in &secrets {
            // A short name also occurs inside of words. A short name that is a complete value is in quotes or in a
            // cell.
            let parts = if secret.len() >= 10 {
                vec![secret.clone()]
            } else {
                vec![format!("\"{secret}\""), format!(">{secret}<"), format!("| {secret} |"), format!(" {secret}/")]
            };
            for part in parts {
                let is_word = WORDS.contains(&secret.as_str());
                assert!(is_word || !text.contains(&part), "{name} has {part}");
            }
        }
    }
}

#[test]
fn the_same_key_gives_the_same_bytes_and_filters_match_names() {
    let sandbox = Sandbox::new();
    let cluster = sample("cluster");
    let export = |out: &str, flags: &[&str]| {
        let tables = ["--table", "task_events,allocation_history,snapshots,restarts,failures"];
        sandbox.run(&[&["export", &cluster, "-o", out, "-q", "--redact"], &tables[..], flags].concat()).exits_with(0);
        sandbox.files(out)
    };
    let first = export("a", &["--redact-key", "key"]);
    let file = fs::metadata(sandbox.path("key")).expect("a key file");
    assert_eq!((file.permissions().mode() & 0o777, file.len()), (0o600, 65));
    assert!(export("b", &["--redact-key", "key"]) == first);
    assert!(export("c", &[]) != first, "another key gives other pseudonyms");
    let only = export("d", &["--redact-key", "key", "--job", "crash-*"]);
    assert!(only["restarts.parquet"] != first["restarts.parquet"]);
    let redactor = Redactor::new(fs::read(sandbox.path("key")).expect("a key").trim_ascii());
    let ran = sandbox.run(&["report", &cluster, "-q", "--redact", "--redact-key", "key", "--format", "json"]);
    assert!(ran.exits_with(0).out.contains(&redactor.name(NameKind::Job, "crash-delay")));

    sandbox.file("short", "abc");
    let ran = sandbox.run(&["report", &cluster, "--redact", "--redact-key", "short"]).exits_with(2);
    ran.stderr_has("short has fewer than 32 characters");
    let condition = ["report", &cluster, "--redact", "--fail-if", "restarts.restarts > 5"];
    sandbox.run(&condition).exits_with(2).stderr_has("--fail-if cannot be used with --redact");
    sandbox.run(&["report", &cluster, "--redact-key", "key"]).exits_with(2).stderr_has("--redact");
}

#[test]
fn a_timeline_is_found_by_the_name_and_by_the_beginning_of_an_id() {
    let sandbox = Sandbox::new();
    let cluster = sample("cluster");
    let store = ViewStore::of(&[&PathBuf::from(&cluster)]).unwrap();
    let id = store.rows("allocations").unwrap()[0].text("alloc_id").expect("an ID").to_owned();
    let timeline = |name: &str| sandbox.run(&["timeline", name, &cluster, "-q", "--redact", "--format", "json"]);
    for name in [id.as_str(), &id[..13], &id[..8].to_uppercase()] {
        let story: Value = serde_json::from_str(&timeline(name).exits_with(0).out).expect("JSON");
        assert_ne!(story["target"]["alloc_id"], id.as_str());
        assert!(story["target"]["alloc_id"].is_string(), "{name}");
    }
    timeline("nothing-like-it").exits_with(1).stderr_has("no allocation or job is called nothing-like-it");
    timeline("ba").exits_with(2).stderr_has("ba is ambiguous").stderr_has("baddriver").stderr_has("batch-ok");
}
