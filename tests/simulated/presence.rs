//! When allocations were last seen, and whether they vanished. The views must give what all documents together show, or
//! null. This must hold for any order of documents, for any split into ingests, and even if the presence is rebuilt
//! from rows in between.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use alloclog::error;
use alloclog::intake::{self, Absences, IntakeOptions};
use alloclog::presence::{self, Presence};
use alloclog::query::{self, GroupBy, Method, Period, VIEWS, plan};
use alloclog::source::{self, DocumentSource};
use alloclog::store::Store;
use alloclog::tables::Table;
use alloclog::tables::sink::{self, DocumentEnd, Sink};
use alloclog::time;
use anyhow::{Context, ensure};
use arrow::array::RecordBatch;
use serde_json::{Value, json};

use crate::simulator::{Random, SECOND};

const HOUR: i64 = 3600 * SECOND;
/// The time from which the times of a case are counted: the beginning of an hour.
const BEGIN: i64 = 1_795_456_800 * SECOND;

/// A status of an allocation, and when it begins.
#[derive(Debug, Clone)]
struct Version {
    since: i64,
    status: &'static str,
}

#[derive(Debug, Clone)]
struct Allocation {
    id: String,
    namespace: &'static str,
    versions: Vec<Version>,
    /// When the servers garbage-collect the allocation.
    gone: i64,
    /// The number of a full listing that lacks the allocation although it exists. This occurs if a cluster is restored
    /// to an earlier state for some time.
    hidden: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A full listing of a namespace.
    Full(&'static str),
    /// Some allocations.
    Partial,
    /// The event stream of ten minutes. It shows the last version of each allocation that changed in this time.
    Stream,
}

#[derive(Debug, Clone)]
struct Document {
    at: i64,
    kind: Kind,
    /// The shown allocations, by number of the allocation and of its version.
    shows: Vec<(usize, usize)>,
}

#[derive(Debug)]
pub struct Case {
    pub region: String,
    allocations: Vec<Allocation>,
    documents: Vec<Document>,
    /// Whether listings contain Nomad's index.
    has_index: bool,
    /// How far the clock of the server is ahead of the observer's clock.
    skew: i64,
}

/// The expected result for an allocation.
#[derive(Debug, PartialEq, Eq)]
struct Truth {
    vanished: bool,
    last_seen: i64,
}

impl Case {
    pub fn new(number: u64) -> Case {
        let mut random = Random::new(number);
        let second =
            |random: &mut Random, most: i64| BEGIN + random.between(600, most) * SECOND + random.between(0, 999);
        let has_index = random.chance(50);
        // Without an index, the program compares times of the server with times of the observer. So their clocks agree.
        let skew = if has_index { random.between(-90, 90) * SECOND } else { 0 };
        let span = *random.pick(&[2400, 2400, 9000]);
        let mut moments: Vec<i64> = (0..random.between(2, 9)).map(|_| second(&mut random, span)).collect();
        moments.sort_unstable();
        moments.dedup();
        let allocations = (0..random.between(1, 5)).map(|_| {
            let created = second(&mut random, span) - 300 * SECOND;
            let mut versions = vec![Version { since: created, status: "pending" }];
            for status in ["running", *random.pick(&["running", "lost", "complete", "failed"])] {
                let since = versions.last().map_or(created, |version| version.since) + random.seconds(1.0, 900.0);
                versions.push(Version { since, status });
            }
            let gone = created + random.seconds(30.0, 2500.0);
            let hidden = random.chance(15).then(|| random.below(moments.len()));
            let namespace = *random.pick(&["default", "prod"]);
            Allocation { id: random.uuid(), namespace, versions, gone, hidden }
        });
        let allocations: Vec<Allocation> = allocations.collect();
        let only_full = random.chance(40);
        let documents = moments.iter().enumerate().map(|(n, at)| {
            let kinds = [Kind::Full("*"), Kind::Full("*"), Kind::Full("default"), Kind::Full("prod"), Kind::Partial];
            let kind = match random.below(8) {
                _ if only_full => *random.pick(&kinds[..4]),
                7 => Kind::Stream,
                _ => *random.pick(&kinds),
            };
            let mut shows = Vec::new();
            for (number, allocation) in allocations.iter().enumerate() {
                let is_there = allocation.versions[0].since <= *at && allocation.gone > *at;
                let Some(version) = allocation.versions.iter().rposition(|version| version.since <= *at) else {
                    continue;
                };
                let is_shown = match kind {
                    Kind::Full(namespace) => {
                        is_there && allocation.hidden != Some(n) && ["*", allocation.namespace].contains(&namespace)
                    }
                    Kind::Partial => is_there && random.chance(50),
                    Kind::Stream => is_there && allocation.versions[version].since > at - 600 * SECOND,
                };
                if is_shown {
                    shows.push((number, version));
                }
            }
            Document { at: *at, kind, shows }
        });
        let documents = documents.collect();
        Case { region: format!("r{number}"), allocations, documents, has_index, skew }
    }

    /// Nomad's index at a time.
    fn index(&self, at: i64) -> i64 {
        (at - BEGIN) / SECOND + 1000
    }

    fn modified(&self, (number, version): (usize, usize)) -> i64 {
        self.allocations[number].versions[version].since + self.skew
    }

    /// Writes the documents.
    pub fn write(&self, directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let write = |(n, document): (usize, &Document)| -> anyhow::Result<PathBuf> {
            let path = directory.join(format!("{}-{n}.json", self.region));
            let shown = document.shows.iter().map(|shown| self.json(*shown)).collect::<Vec<_>>();
            let text = match document.kind {
                Kind::Stream => {
                    shown
                        .iter()
                        .map(|a| {
                            let event = json!({"Topic": "Allocation", "Type": "AllocationUpdated", "Key": a["ID"],
                        "Namespace": a["Namespace"], "Index": a["ModifyIndex"], "Payload": {"Allocation": a}});
                            json!({"Index": a["ModifyIndex"], "Events": [event]}).to_string() + "\n"
                        })
                        .collect::<String>()
                        + "{}\n"
                }
                _ => Value::Array(shown).to_string(),
            };
            fs::write(&path, text)?;
            let about = json!({
                "alloclog": "0", "address": "", "region": "", "observed_at": time::to_rfc3339(document.at),
                "namespace": if let Kind::Full(namespace) = document.kind { Some(namespace) } else { None },
                "full_listing": if let Kind::Full(namespace) = document.kind { Some(namespace) } else { None },
                "nomad_index": Some(self.index(document.at)).filter(|_| self.has_index),
                "nodes": null,
            });
            fs::write(format!("{}.meta.json", path.display()), about.to_string())?;
            Ok(path)
        };
        self.documents.iter().enumerate().map(write).collect()
    }

    fn json(&self, (number, version): (usize, usize)) -> Value {
        let allocation = &self.allocations[number];
        json!({
            "ID": allocation.id, "Namespace": allocation.namespace, "JobID": "job", "TaskGroup": "group",
            "Name": "job.group[0]", "ClientStatus": allocation.versions[version].status, "DesiredStatus": "run",
            "CreateIndex": self.index(allocation.versions[0].since), "CreateTime": self.modified((number, 0)),
            "ModifyIndex": self.index(allocation.versions[version].since), "ModifyTime": self.modified((number, version)),
            "TaskStates": null,
        })
    }

    /// The facts that all documents together show. An allocation that no document shows has no entry.
    fn truth(&self) -> BTreeMap<&str, Truth> {
        let shows = |number: usize| {
            let of = move |document: &&Document| document.shows.iter().any(|(other, _)| *other == number);
            self.documents.iter().filter(of)
        };
        let version = |document: &Document, number: usize| {
            document.shows.iter().find(|(other, _)| *other == number).map(|(_, version)| *version)
        };
        let mut truth = BTreeMap::new();
        for (number, allocation) in self.allocations.iter().enumerate() {
            let Some(newest) = shows(number).filter_map(|document| version(document, number)).max() else { continue };
            let modified = self.modified((number, newest));
            let is_live = !["lost", "complete", "failed"].contains(&allocation.versions[newest].status);
            let seen = shows(number).filter(|document| document.kind != Kind::Stream);
            let last = seen.clone().map(|document| document.at).max();
            let is_streamed = !seen.clone().any(|document| version(document, number) == Some(newest));
            let lacks = |document: &&Document| {
                let Kind::Full(namespace) = document.kind else { return false };
                let is_newer = if self.has_index {
                    self.index(document.at) >= self.index(allocation.versions[newest].since)
                } else {
                    !is_streamed || document.at > modified
                };
                ["*", allocation.namespace].contains(&namespace)
                    && last.is_none_or(|last| document.at > last)
                    && is_newer
            };
            let vanished = is_live && self.documents.iter().any(|document| lacks(&document));
            let last_seen = if is_live { last.unwrap_or(0).max(modified) } else { modified };
            truth.insert(allocation.id.as_str(), Truth { vanished, last_seen });
        }
        truth
    }
}

/// Rows without duplicates, as in a lake or an export.
#[derive(Default)]
pub struct Rows {
    seen: HashSet<(Table, u128)>,
    batches: Vec<(Table, RecordBatch)>,
}

impl Rows {
    pub fn add(&mut self, table: Table, batch: RecordBatch) -> error::Result<()> {
        let ids = table.identities(&batch)?;
        let new: Vec<bool> = ids.into_iter().map(|id| self.seen.insert((table, id))).collect();
        let batch = arrow::compute::filter_record_batch(&batch, &new.into())?;
        if batch.num_rows() > 0 {
            self.batches.push((table, batch));
        }
        Ok(())
    }
}

impl Sink for Rows {
    fn rows(&mut self, rows: sink::Rows) -> error::Result<()> {
        self.add(rows.table, rows.batch)
    }

    fn end_document(&mut self, end: DocumentEnd) -> error::Result<()> {
        self.add(Table::Snapshots, end.batch()?)
    }
}

fn take(paths: &[PathBuf], options: &IntakeOptions, rows: &mut Rows) -> anyhow::Result<intake::Summary> {
    let sources: Vec<DocumentSource> =
        paths.iter().map(|path| DocumentSource::parse(&path.to_string_lossy())).collect();
    let inputs = source::list(&sources).map_err(anyhow::Error::msg)?;
    Ok(intake::run(&inputs, options, &(), rows)?)
}

/// The view's result per allocation: whether it vanished, and when it was last seen.
pub type Views = BTreeMap<String, (Option<bool>, Option<i64>)>;

/// Computes the view over these rows.
pub fn views(rows: Vec<Rows>) -> anyhow::Result<Views> {
    let directory = tempfile::tempdir()?;
    let store = Store::at(directory.path());
    let mut writer = store.writer(Table::ALL)?;
    for (table, batch) in rows.into_iter().flat_map(|rows| rows.batches) {
        writer.add(table, batch)?;
    }
    writer.finish()?;
    let view = VIEWS.iter().find(|view| view.name == "allocations").context("the view")?;
    query::run(&store, &plan::needed(&[view], &GroupBy::default()), Period::default(), Method::default())?;
    let rows = query::select(&store, "SELECT alloc_id, vanished, last_seen_at_ns FROM allocations")?;
    let by_allocation = rows.iter().map(|row| {
        (
            row.text("alloc_id").unwrap_or_default().to_owned(),
            (row.get("vanished").as_bool(), row.int("last_seen_at_ns")),
        )
    });
    Ok(by_allocation.collect())
}

fn cases() -> u64 {
    let times: u64 = std::env::var("ALLOCLOG_CASES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    150 * times
}

/// Reports differences between the views and the truth. `unknown` says for which cases null is acceptable.
pub fn compare(cases: &[Case], views: &Views, unknown: impl Fn(&Case) -> bool) -> anyhow::Result<[usize; 2]> {
    let (mut known, mut all) = (0, 0);
    for case in cases {
        for (id, truth) in case.truth() {
            let (vanished, last_seen) = views.get(id).with_context(|| format!("{id} is missing"))?;
            let may_be_unknown = unknown(case);
            let is_right = vanished.map_or(may_be_unknown, |vanished| vanished == truth.vanished)
                && last_seen.map_or(may_be_unknown, |last_seen| last_seen == truth.last_seen);
            ensure!(is_right, "{id}: {vanished:?} {last_seen:?}, not {truth:?}\n{case:#?}");
            known += usize::from(vanished.is_some() && last_seen.is_some());
            all += 1;
        }
    }
    Ok([known, all])
}

#[test]
fn a_single_run_knows_when_each_allocation_was_last_seen() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let cases: Vec<Case> = (0..cases()).map(Case::new).collect();
    let mut all = Vec::new();
    for case in &cases {
        let mut paths = case.write(directory.path())?;
        Random::new(7).shuffle(&mut paths);
        let mut rows = Rows::default();
        take(&paths, &IntakeOptions { region: case.region.clone(), ..IntakeOptions::default() }, &mut rows)?;
        all.push(rows);
    }
    let [known, of] = compare(&cases, &views(all)?, |_| false)?;
    ensure!(known == of && of > 100);
    Ok(())
}

/// Ingests the documents of every case in a random number of runs. Unless `in_order` is set, the order is random and
/// some documents are ingested twice. `forgets` is how often the presence is rebuilt from rows, in percent of the runs.
fn ingested(seed: u64, forgets: u32, in_order: bool) -> anyhow::Result<(Vec<Case>, Views)> {
    let directory = tempfile::tempdir()?;
    let cases: Vec<Case> = (0..cases()).map(|number| Case::new(seed * 1_000_000 + number)).collect();
    let ingest = |(number, case): (usize, &Case)| {
        ingested_case(case, directory.path(), &mut Random::new(seed + number as u64), forgets, in_order)
    };
    let all = cases.iter().enumerate().map(ingest).collect::<anyhow::Result<_>>()?;
    Ok((cases, views(all)?))
}

/// Ingests the documents of a case in some runs. `forgets` is the share of runs, in percent, that rebuild the presence
/// from rows.
fn ingested_case(
    case: &Case,
    directory: &Path,
    random: &mut Random,
    forgets: u32,
    in_order: bool,
) -> anyhow::Result<Rows> {
    let mut paths = case.write(directory)?;
    if !in_order {
        paths.extend_from_within(..paths.len() / 3);
        random.shuffle(&mut paths);
    }
    let options = IntakeOptions { region: case.region.clone(), absences: Absences::Left, ..IntakeOptions::default() };
    let (mut rows, mut presence) = (Rows::default(), Presence::default());
    let mut left = paths.as_slice();
    while !left.is_empty() {
        let (run, rest) = left.split_at(random.between(1, 3).min(left.len() as i64) as usize);
        left = rest;
        if random.chance(forgets) {
            presence = Presence::default();
            rows.batches.iter().try_for_each(|(table, batch)| presence.add_rows(*table, batch))?;
        }
        let summary = take(run, &options, &mut rows)?;
        let facts = presence.add(&case.region, &summary.shown);
        for found in presence::batches(&case.region, &facts)? {
            rows.add(found.table, found.batch)?;
        }
    }
    Ok(rows)
}

/// The clocks of the server and of the observer differ. A stream shows an allocation that was created after a full
/// listing, although the clocks say that it was created before. Only the indexes are right.
#[test]
fn a_listing_from_before_the_creation_shows_nothing() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let single = Case::new(1804);
    let mut rows = Rows::default();
    let options = IntakeOptions { region: single.region.clone(), ..IntakeOptions::default() };
    take(&single.write(directory.path())?, &options, &mut rows)?;
    compare(&[single], &views(vec![rows])?, |_| false)?;
    let split = Case::new(9_000_268);
    let rows = ingested_case(&split, directory.path(), &mut Random::new(9 + 268), 0, true)?;
    compare(&[split], &views(vec![rows])?, |_| true)?;
    // Here the listing lacks an older allocation, because the cluster was restored to an earlier state for some time.
    let restored = Case::new(2_004_508);
    let rows = ingested_case(&restored, directory.path(), &mut Random::new(2 + 4508), 50, false)?;
    compare(&[restored], &views(vec![rows])?, |_| true)?;
    // Here the listing comes after the only version that a stream shows, so the allocation vanished.
    let streamed = Case::new(3_004_603);
    let rows = ingested_case(&streamed, directory.path(), &mut Random::new(3 + 4603), 50, false)?;
    compare(&[streamed], &views(vec![rows])?, |_| true)?;
    Ok(())
}

/// The presence is rebuilt from rows. An older full listing is then ingested and recorded as lacking the allocation.
/// The view rejects that absence by its index, but later listings lack the allocation, too.
#[test]
fn a_rejected_absence_does_not_hide_that_later_listings_lack_the_allocation() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let case = Case::new(1_001_309);
    let rows = ingested_case(&case, directory.path(), &mut Random::new(1 + 1309), 50, false)?;
    compare(&[case], &views(vec![rows])?, |_| true)?;
    Ok(())
}

fn has_only(case: &Case, wanted: fn(Kind) -> bool) -> bool {
    case.documents.iter().all(|document| wanted(document.kind))
}

#[test]
fn full_listings_in_any_order_determine_the_last_sightings() -> anyhow::Result<()> {
    for seed in 1..4 {
        let (cases, views) = ingested(seed, 50, false)?;
        let unknown = |case: &Case| !has_only(case, |kind| matches!(kind, Kind::Full(_)));
        let [known, of] = compare(&cases, &views, unknown)?;
        println!("{known} of {of} known");
        ensure!(known * 10 > of * 7, "{known} of {of} known");
    }
    Ok(())
}

#[test]
fn cached_presence_determines_more() -> anyhow::Result<()> {
    let (cases, views) = ingested(9, 0, true)?;
    let unknown = |case: &Case| !has_only(case, |kind| matches!(kind, Kind::Full(_)));
    let [known, of] = compare(&cases, &views, unknown)?;
    println!("{known} of {of} known");
    ensure!(known * 10 > of * 8, "{known} of {of} known");
    Ok(())
}

/// Checks that some allocations vanish and others do not, and that cases span one hour and several hours.
#[test]
fn cases_cover_all_situations() -> anyhow::Result<()> {
    let cases: Vec<Case> = (0..150).map(Case::new).collect();
    let truths: Vec<Truth> = cases.iter().flat_map(|case| case.truth().into_values()).collect();
    let vanished = truths.iter().filter(|truth| truth.vanished).count();
    ensure!(vanished > 50 && truths.len() - vanished > 50, "{vanished} of {} vanished", truths.len());
    let hours = |case: &Case| case.documents.iter().map(|document| document.at / HOUR).collect::<HashSet<_>>().len();
    ensure!(cases.iter().any(|case| hours(case) > 1) && cases.iter().any(|case| hours(case) == 1));
    Ok(())
}
