//! A simulated Nomad cluster that knows the truth.
//!
//! [`Cluster::simulate`] makes up a cluster from a seed: jobs on nodes, allocations whose tasks start, fail, are
//! restarted, killed, lost and found again, with every event ever appended. It then renders what Nomad would have
//! served at any moment, in every shape in which such documents reach us ([`Style`]), where a task shows only its last
//! ten events. [`Truth`] says, from the simulator's own knowledge and never from JSON, what a set of such documents
//! lets anyone know.
//!
//! Time is counted in nanoseconds since the epoch on the servers' clock, which is taken to be right.

// What tells the truth of the statistics waits for their views.
#![allow(dead_code)]

mod cluster;
mod course;
mod event;
mod job;
mod json;
mod life;
mod moment;
mod node;
mod random;
mod render;
mod runner;
mod scenario;
mod shapes;
mod style;
mod truth;
mod version;

pub use cluster::{Cluster, Config};
pub use random::Random;
pub use render::{BundleLayout, Document};
pub use style::{Layout, Style};
pub use truth::{EventRow, StateTruth, TaskKey, Truth, sightings};

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;
/// Nanoseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// When every simulation begins: 2026-11-23, twenty minutes before midnight, so that events fall on two days.
pub const START: i64 = 1_795_477_200 * SECOND;
