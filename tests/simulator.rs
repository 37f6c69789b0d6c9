//! A simulated Nomad cluster whose complete history is known.
//!
//! [`Cluster::simulate`] generates a cluster from a seed: nodes, jobs, and allocations whose tasks start, fail, are
//! restarted, killed, lost and found again. The cluster keeps every event. [`Cluster::document`] and similar methods
//! render what Nomad would have served at any time, in every form of document ([`Style`]). A document shows only the
//! last ten events of a task. [`Truth`] says what can be known from a set of such documents. It is computed from the
//! simulator's own state, never from JSON.
//!
//! Times are nanoseconds since the epoch on the clock of the servers, which is assumed to be correct.

mod allocation_run;
mod cluster;
mod event;
mod job;
mod json;
mod moment;
mod node;
mod node_json;
pub mod random;
mod render;
mod rows;
mod runner;
mod scenario;
mod shapes;
mod style;
mod task_history;
mod task_outcome;
mod truth;
mod version;

pub use cluster::{Allocation, Cluster, Config, Replacing};
pub use event::{Cause, Class};
pub use random::Random;
pub use render::{BundleLayout, Document};
pub use rows::{Ledger, Line, Told, line};
pub use style::{Encoder, Layout, Objects, Style};
pub use task_history::Lived;
pub use task_outcome::TaskOutcome;
pub use truth::{EventRow, StateTruth, TaskKey, Truth};

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;
/// Nanoseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// The start of every simulation: 2026-11-23, twenty minutes before midnight, so that events span two days.
pub const START: i64 = 1_795_477_200 * SECOND;
