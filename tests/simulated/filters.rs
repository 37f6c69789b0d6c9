//! `--namespace` and `--job` give exactly the rows of the allocations that match.

use alloclog::glob::Glob;
use alloclog::intake::IntakeOptions;
use alloclog::merge::Filter;

use super::compare::{arrivals, check, paths};
use super::snapshot_schedule::cases;
use super::{directory, for_all, packed};
use crate::support::take;

/// A glob's meaning as a function.
type Means = fn(&str) -> bool;
const GLOBS: [(&str, Means); 8] = [
    ("*", |_| true),
    ("web-*", |id| id.starts_with("web-")),
    ("*/dispatch-*", |id| id.contains("/dispatch-")),
    ("weird.job[[]1[]]/x-[0-2]*", |id| ["0", "1", "2"].iter().any(|n| id.starts_with(&format!("weird.job[1]/x-{n}")))),
    ("{etl,=cmd}-?", |id| {
        id.len() == id.find('-').unwrap_or(0) + 2 && (id.starts_with("etl-") || id.starts_with("=cmd-"))
    }),
    ("t?sk*", |id| id.starts_with("täsk")),
    ("*\"q\"*", |id| id.contains("\"q\"")),
    ("WEB-*", |_| false),
];

#[test]
fn filters_keep_exactly_matching_rows() {
    for_all(60, cases(5), |case| {
        let cluster = case.cluster();
        let snapshots = case.documents(&cluster);
        let mut random = case.random();
        let namespace = *random.pick(&[None, Some("*"), Some("default"), Some("prod"), Some("nowhere")]);
        let glob = random.chance(70).then(|| *random.pick(&GLOBS));
        let job = glob.map(|(glob, _)| Glob::new(glob)).transpose().map_err(anyhow::Error::msg)?;
        let filter = Filter { namespace: namespace.map(str::to_owned), job, allocation: None };
        let directory = directory()?;
        let sources = packed::write(&snapshots, directory.path(), &mut random);
        let named: Vec<_> = sources.iter().collect();
        let taken = take(&paths(&named), &IntakeOptions { filter, ..IntakeOptions::default() });
        let jobs = &cluster.jobs;
        let keeps = |allocation: &crate::simulator::Allocation| {
            let job = &jobs[allocation.job];
            namespace.is_none_or(|n| n == "*" || n == job.namespace) && glob.is_none_or(|(_, means)| means(&job.id))
        };
        check(&cluster, &arrivals(&named), &keeps, &taken)
    });
}
