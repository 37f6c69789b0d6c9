//! Cases: a cluster, and when and how it is observed.

use proptest::collection::vec;
use proptest::prelude::{Just, any};
use proptest::prop_oneof;
use proptest::strategy::Strategy;

use crate::simulator::{BundleLayout, Cluster, Config, Document, MINUTE, Random, START, Style};

/// A cluster and its snapshots.
#[derive(Debug, Clone)]
pub struct Case {
    pub seed: u64,
    pub nodes: usize,
    pub jobs: usize,
    /// The frequency of rare events, in percent; 0 for no rare events.
    pub rare: u32,
    pub observations: Vec<Observation>,
    /// The seed for other choices, such as the packing and the order of files.
    pub chance: u64,
}

/// One snapshot of the cluster.
#[derive(Debug, Clone)]
pub struct Observation {
    pub kind: Kind,
    /// The time of the snapshot, in thousandths of the simulated time.
    pub moment: i64,
    /// Whether the file name of the snapshot contains the time.
    pub is_named: bool,
    /// Whether fields are omitted or times rounded (see `Style::trimmed`).
    pub is_trimmed: bool,
    /// The seed of the snapshot's style.
    pub seed: u64,
}

/// The kind of request, and the program that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    List,
    Read,
    Debug,
    Cli,
    State,
    Any,
    Frames,
    Events,
    Payloads,
    Bundle,
}

/// Cases with at most this number of snapshots.
pub fn cases(most: usize) -> impl Strategy<Value = Case> {
    let cluster = (any::<u64>(), 2..5usize, 1..7usize, prop_oneof![Just(0u32), Just(12), Just(60)]);
    (cluster, vec(look(), 1..=most), any::<u64>()).prop_map(|((seed, nodes, jobs, rare), observations, chance)| Case {
        seed,
        nodes,
        jobs,
        rare,
        observations,
        chance,
    })
}

fn look() -> impl Strategy<Value = Observation> {
    let kind = prop_oneof![
        2 => Just(Kind::List),
        1 => Just(Kind::Read),
        1 => Just(Kind::Debug),
        1 => Just(Kind::Cli),
        1 => Just(Kind::State),
        4 => Just(Kind::Any),
        1 => Just(Kind::Frames),
        1 => Just(Kind::Events),
        1 => Just(Kind::Payloads),
        1 => Just(Kind::Bundle),
    ];
    let flags = (prop_oneof![3 => Just(true), 1 => Just(false)], prop_oneof![5 => Just(false), 1 => Just(true)]);
    // Half of the times and half of the seeds have one of a few values. So documents often show the same versions as
    // another document, or nearly the same.
    let moment = prop_oneof![1 => 0..=1000i64, 1 => (1..=5i64).prop_map(|n| n * 200)];
    let seed = prop_oneof![1 => any::<u64>(), 1 => 0..3u64];
    (kind, moment, flags, seed).prop_map(|(kind, moment, (is_named, is_trimmed), seed)| Observation {
        kind,
        moment,
        is_named,
        is_trimmed,
        seed,
    })
}

impl Case {
    /// The cluster.
    pub fn cluster(&self) -> Cluster {
        let config = if self.rare == 0 { Config::plain() } else { Config { rare: self.rare, ..Config::default() } };
        Cluster::simulate(self.seed, Config { nodes: self.nodes, jobs: self.jobs, ..config })
    }

    /// The documents of each snapshot: several for a bundle.
    pub fn documents(&self, cluster: &Cluster) -> Vec<Vec<Document>> {
        self.observations.iter().map(|look| look.documents(cluster)).collect()
    }

    /// The random generator of the case.
    pub fn random(&self) -> Random {
        Random::new(self.chance)
    }
}

impl Observation {
    /// The documents of the snapshot.
    pub fn documents(&self, cluster: &Cluster) -> Vec<Document> {
        let at = START + (cluster.end() - START) / 1000 * self.moment;
        let mut random = Random::new(self.seed);
        let shuffle = random.number();
        let any = Style::any(&mut random);
        let style = match self.kind {
            Kind::List => Style::list(shuffle),
            Kind::Read => Style::read(shuffle),
            Kind::Debug => Style::debug(shuffle),
            Kind::Cli => Style::cli(shuffle),
            Kind::State => Style::state(shuffle),
            _ => any,
        };
        let style = if self.is_trimmed { style.trimmed(&mut random) } else { style };
        let from = at - random.between(1, 15) * MINUTE;
        let document = match self.kind {
            Kind::Frames => cluster.frames(from, at, &style),
            Kind::Events => cluster.bare_events(from, at, &style),
            Kind::Payloads => cluster.payloads(from, at, &style),
            Kind::Bundle => {
                let layout = *random.pick(&[BundleLayout::Interval, BundleLayout::Nomad]);
                let namespace = *random.pick(&[None, Some("*"), Some("default"), Some("prod")]);
                let moments: Vec<i64> = (0..random.between(1, 3)).map(|n| at + n * MINUTE / 2).collect();
                return cluster.bundle(&moments, layout, namespace, shuffle);
            }
            _ => cluster.document(at, &style),
        };
        vec![if self.is_named { document } else { document.unnamed() }]
    }
}
