//! Gauges for Prometheus: OpenMetrics text that node_exporter's textfile collector reads.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::intake::Summary;
use crate::lake::ingest::Added;
use crate::lake::{Lake, now_ms};

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
    let directory = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".alloclog-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
