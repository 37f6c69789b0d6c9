//! The simulator's truth against what its documents give.
//!
//! Every property is a loop over seeded cases. `ALLOCLOG_CASES=100` runs a hundred times as many of each,
//! `ALLOCLOG_CASE=17` only that one, and with `ALLOCLOG_KEEP` its files are left in the temporary directory.

mod coverage;
mod cuts;
mod expected;
mod merging;
mod packed;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::simulator::{BundleLayout, Cluster, Config, Document, MINUTE, Random, START, Style};

/// Runs a check on so many cases by default, and tells all that fail.
fn each_case(usual: u64, check: impl Fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = match number("ALLOCLOG_CASE") {
        Some(case) => case..case + 1,
        None => 0..number("ALLOCLOG_CASES").unwrap_or(1) * usual,
    };
    let fails = |case: &u64| catch_unwind(AssertUnwindSafe(|| check(*case))).is_err();
    let failed: Vec<u64> = cases.filter(fails).collect();
    assert!(failed.is_empty(), "{} cases failed: {failed:?}", failed.len());
}

/// A directory for the files of a case.
fn directory() -> tempfile::TempDir {
    let mut directory = tempfile::tempdir().expect("a directory");
    directory.disable_cleanup(std::env::var_os("ALLOCLOG_KEEP").is_some());
    directory
}

/// A cluster of a case.
fn cluster(random: &mut Random, rare: u32) -> Cluster {
    let config = match random.below(3) {
        0 => Config::plain(),
        1 => Config { rare, ..Config::default() },
        _ => Config { rare, nodes: 2, jobs: 3, ..Config::default() },
    };
    Cluster::simulate(random.number(), config)
}

/// What was taken of a cluster at once: one document, or the files of a bundle.
#[derive(Debug, Clone)]
enum Taking {
    /// A list or a read, named by its second.
    Listing(Document),
    /// An event stream, in frames or without.
    Stream(Document),
    /// A bundle's files, by their paths.
    Bundle(Vec<Document>),
}

impl Taking {
    /// All its files.
    fn documents(&self) -> &[Document] {
        match self {
            Self::Listing(document) | Self::Stream(document) => std::slice::from_ref(document),
            Self::Bundle(documents) => documents,
        }
    }
}

/// What the documents of a case may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing that tells an event or its attempt.
    Exact,
    /// Counters, exact times or task states may be missing too.
    Lesser,
}

/// Takings of a cluster at moments that leave much out, in a mixture of shapes.
fn takings(cluster: &Cluster, random: &mut Random, most: usize, kind: Kind) -> Vec<Taking> {
    let pace = *random.pick(&[1, 4, 10]);
    let count = 1 + random.below(most);
    (0..count).map(|_| taking(cluster, random, pace, kind)).collect()
}

fn taking(cluster: &Cluster, random: &mut Random, pace: i64, kind: Kind) -> Taking {
    let at = random.between(START + MINUTE, cluster.end());
    let seed = random.number();
    let any = |random: &mut Random| {
        let mut style = Style::any(random);
        if kind == Kind::Lesser {
            style.counters = !random.chance(20);
            style.floats = random.chance(20);
            style.task_states = !random.chance(10);
        }
        style
    };
    match random.below(12) {
        0 => Taking::Stream(cluster.frames(at - pace * MINUTE, at, &any(random))),
        1 => Taking::Stream(cluster.bare_events(at - pace * MINUTE, at, &any(random))),
        2 => {
            let layout = *random.pick(&[BundleLayout::Interval, BundleLayout::Nomad]);
            let namespace = *random.pick(&[None, Some("*"), Some("default")]);
            let moments: Vec<i64> = (0..1 + random.below(3) as i64).map(|n| at + n * MINUTE / 2).collect();
            Taking::Bundle(cluster.bundle(&moments, layout, namespace, seed))
        }
        3 => Taking::Listing(cluster.document(at, &Style::list(seed))),
        4 => Taking::Listing(cluster.document(at, &Style::read(seed))),
        5 => Taking::Listing(cluster.document(at, &Style::cli(seed))),
        6 => Taking::Listing(cluster.document(at, &Style::state(seed))),
        _ => Taking::Listing(cluster.document(at, &any(random))),
    }
}

/// The documents of takings.
fn documents(takings: &[Taking]) -> impl Iterator<Item = &Document> {
    takings.iter().flat_map(Taking::documents)
}
