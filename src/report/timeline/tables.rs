//! The job versions and deployments of a timeline as tables.

use super::Timeline;
use crate::render::text::{Side, TextTable};
use crate::report::layout::short;
use crate::report::show::{count, moment};

use Side::{Left, Right};

/// Shown if no version of the job is known.
pub const NO_VERSION: &str = "No source shows the version of the job.";

/// Shown if no deployment is known.
pub const NO_DEPLOYMENT: &str = "No allocation has a deployment, or no source shows it.";

/// The versions of the job.
pub fn versions(timeline: &Timeline) -> TextTable {
    let rows = timeline.versions.iter().map(|row| {
        let job = row.text("job_id").unwrap_or("-").to_owned();
        vec![count(row.int("job_version")), count(row.int("allocations")), moment(row.get("first_seen_at")), job]
    });
    let columns = [("version", Right), ("allocations", Right), ("first seen (UTC)", Left), ("job", Left)];
    table(&columns, rows.collect())
}

/// The deployments of the job.
pub fn deployments(timeline: &Timeline) -> TextTable {
    let counts = ["job_version", "allocations", "healthy", "unhealthy", "canaries"];
    let rows = timeline.deployments.iter().map(|row| {
        let id = row.text("deployment_id").map_or("-".to_owned(), short);
        let counts = counts.iter().map(|column| count(row.int(column)));
        std::iter::once(id).chain(counts).chain([moment(row.get("created_at"))]).collect()
    });
    let columns = [
        ("deployment", Left),
        ("version", Right),
        ("allocations", Right),
        ("healthy", Right),
        ("unhealthy", Right),
        ("canaries", Right),
        ("first created (UTC)", Left),
    ];
    table(&columns, rows.collect())
}

fn table(columns: &[(&str, Side)], rows: Vec<Vec<String>>) -> TextTable {
    TextTable { columns: columns.iter().map(|(title, side)| ((*title).to_owned(), *side)).collect(), rows }
}
