//! A simulated Nomad cluster that knows the truth.
//!
//! [`Cluster::simulate`] makes up a cluster from a seed: jobs on nodes, allocations whose tasks start, fail, are
//! restarted, killed, lost and found again, with every event ever appended. It then renders what Nomad would have
//! served at any moment, in every shape in which such documents reach us ([`Style`]), where a task shows only its last
//! ten events. [`Truth`] says, from the simulator's own knowledge and never from JSON, what a set of such documents
//! lets anyone know.
//!
//! Time is counted in nanoseconds since the epoch on the servers' clock, which is taken to be right.

mod cluster;
mod course;
mod event;
mod job;
mod json;
mod life;
mod moment;
mod node;
pub mod random;
mod render;
mod rows;
mod runner;
mod scenario;
mod shapes;
mod story;
mod style;
mod truth;
mod version;

pub use cluster::{Allocation, Cluster, Config, Replacing};
pub use event::{Cause, Class};
pub use life::Lived;
pub use random::Random;
pub use render::{BundleLayout, Document};
pub use rows::{Ledger, Line, Told, line};
pub use story::Story;
pub use style::{Encoder, Layout, Objects, Style};
pub use truth::{EventRow, StateTruth, TaskKey, Truth};

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;
/// Nanoseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// When every simulation begins: 2026-11-23, twenty minutes before midnight, so that events fall on two days.
pub const START: i64 = 1_795_477_200 * SECOND;
