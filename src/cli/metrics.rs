//! Gauges for Prometheus: OpenMetrics text that node_exporter's textfile collector reads.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::intake::Summary;
use crate::lake::ingest::CommitSummary;
use crate::lake::{Lake, now_ms};
use crate::output::OutputFile;

/// A gauge: its name without the common prefix, its help text and its value.
pub type Gauge<'g> = (&'g str, &'g str, f64);

/// OpenMetrics text of gauges of a lake.
pub fn text(lake: &Lake, gauges: &[Gauge<'_>]) -> String {
    let lake = lake.storage.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut text = String::new();
    for (name, help, value) in gauges {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP alloclog_{name} {help}\n# TYPE alloclog_{name} gauge");
        let _ = writeln!(text, "alloclog_{name}{{lake=\"{lake}\"}} {value}");
    }
    text + "# EOF\n"
}

/// Writes the metrics of an ingest atomically.
pub fn write(path: &Path, lake: &Lake, summary: &Summary, added: &CommitSummary, took: Duration) -> anyhow::Result<()> {
    let rows = |table| added.rows.get(table).copied().unwrap_or_default() as f64;
    let text = text(
        lake,
        &[
            ("ingest_last_success_timestamp_seconds", "End of the last successful ingest.", now_ms() as f64 / 1_000.0),
            ("ingest_last_new_task_events", "Task events added by the last ingest.", rows("task_events")),
            (
                "ingest_last_new_allocation_versions",
                "Allocation versions added by the last ingest.",
                rows("allocation_history"),
            ),
            (
                "ingest_last_lost_restarts",
                "Restarts since the previous ingest that Nomad counted and whose events were lost.",
                added.lost.restarts as f64,
            ),
            (
                "ingest_last_uncounted_tasks",
                "Tasks with new states whose lost restarts are unknown.",
                added.lost.uncounted_tasks as f64,
            ),
            ("ingest_last_documents", "Documents read by the last ingest.", summary.documents as f64),
            (
                "ingest_last_known_files",
                "Files that the last ingest did not read, because the lake has all of their rows.",
                summary.known_files.len() as f64,
            ),
            (
                "ingest_last_rejected",
                "Places in the input of the last ingest that could not be read.",
                summary.rejected as f64,
            ),
            ("ingest_last_duration_seconds", "Duration of the last ingest.", took.as_secs_f64()),
            (
                "ingest_last_batch",
                "Number of the last batch added; 0 if none was.",
                added.batch.unwrap_or_default() as f64,
            ),
        ],
    );
    let file = OutputFile::begin(path)?;
    file.create()?.write_all(text.as_bytes())?;
    Ok(file.commit()?)
}
