//! Gauges for Prometheus: OpenMetrics text that node_exporter's textfile collector reads.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::intake::Summary;
use crate::lake::ingest::Added;
use crate::lake::{Lake, now_ms};
use crate::output::OutputFile;

/// A gauge: its name without what all of ours begin with, what it is, and its value.
pub type Gauge<'g> = (&'g str, &'g str, f64);

/// The text of these gauges of a lake.
pub fn text(lake: &Lake, gauges: &[Gauge<'_>]) -> String {
    let lake = lake.objects.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut text = String::new();
    for (name, help, value) in gauges {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP alloclog_{name} {help}\n# TYPE alloclog_{name} gauge");
        let _ = writeln!(text, "alloclog_{name}{{lake=\"{lake}\"}} {value}");
    }
    text + "# EOF\n"
}

/// Writes what an ingest did, whole or not at all.
pub fn write(path: &Path, lake: &Lake, summary: &Summary, added: &Added, took: Duration) -> anyhow::Result<()> {
    let rows = |table| added.rows.get(table).copied().unwrap_or_default() as f64;
    let text = text(
        lake,
        &[
            (
                "ingest_last_success_timestamp_seconds",
                "When the last ingest that succeeded ended.",
                now_ms() as f64 / 1_000.0,
            ),
            ("ingest_last_new_task_events", "Task events that it added.", rows("task_events")),
            (
                "ingest_last_new_allocation_versions",
                "Versions of allocations that it added.",
                rows("allocation_history"),
            ),
            (
                "ingest_last_lost_restarts",
                "Restarts that it showed to have happened since the ingests before it, without their events.",
                added.lost.restarts as f64,
            ),
            (
                "ingest_last_uncounted_tasks",
                "Tasks with new states of which it is not known how many restarts were lost.",
                added.lost.uncounted_tasks as f64,
            ),
            ("ingest_last_documents", "Documents that it read.", summary.documents as f64),
            ("ingest_last_rejected", "Places in its input that could not be read.", summary.rejected as f64),
            ("ingest_last_duration_seconds", "How long it took.", took.as_secs_f64()),
            (
                "ingest_last_batch",
                "The number of the last batch that it added; 0 for none.",
                added.batch.unwrap_or_default() as f64,
            ),
        ],
    );
    let file = OutputFile::begin(path)?;
    file.create()?.write_all(text.as_bytes())?;
    file.commit()
}
