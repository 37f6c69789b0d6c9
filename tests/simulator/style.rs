//! The style of a document: the encoder, the layout, and omitted parts.

use crate::simulator::random::Random;

/// How the allocations of a document are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[…]`, as in the answer of the API.
    Array,
    /// One allocation per line, as in a debug bundle.
    Lines,
    /// Several arrays `[…]` of a few allocations each, as in a file to which pages were appended.
    Pages,
    /// Concatenated without separators.
    Concatenated,
    /// Indented `[…]` with this number of spaces per level: four in the CLI, two in most other tools.
    Pretty(usize),
    /// Indented values one after the other, as from `jq '.[]'`.
    PrettyConcatenated,
    /// Under `Allocs` between other tables, as from `nomad operator snapshot state`.
    Allocs,
}

/// The short form of a list, or the whole allocation with its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objects {
    Stub,
    Full,
}

/// The program whose structs were encoded. The structs differ in their fields and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    Server,
    /// The Go API client, in the CLI and in debug bundles.
    GoClient,
}

/// How a missing time is written, such as the end of a task that still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {
    Null,
    YearOne,
    Absent,
}

/// The style of a document. [`Style::any`] combines these values at random. `list`, `read`, `debug`, `cli` and `state`
/// return the styles that Nomad produces.
#[derive(Debug, Clone)]
pub struct Style {
    pub layout: Layout,
    pub objects: Objects,
    pub encoder: Encoder,
    /// Whether object keys are sorted; otherwise they have the order of the structs.
    pub sorted: bool,
    pub never: Never,
    pub escape_html: bool,
    /// Whether stubs have resources.
    pub resources: bool,
    /// Whether full allocations have empty fields.
    pub empties: bool,
    /// Whether task states are shown. A request with `task_states=false` omits them.
    pub task_states: bool,
    /// Whether `Restarts` and `LastRestart` are shown. Nomad before 0.6 lacks them.
    pub counters: bool,
    /// Whether integer nanoseconds passed through a float, as in jq or JavaScript.
    pub floats: bool,
    pub bom: bool,
    /// The seed for the order of map keys, which differs in every response of Nomad.
    pub shuffle: u64,
    /// If given, only the allocations of this namespace are shown.
    pub namespace: Option<&'static str>,
    /// The percentage of the allocations that are shown, selected by `shuffle`.
    pub share: u32,
    /// Whether a stream also contains other topics.
    pub topics: bool,
    /// The number of padding bytes in the job of every full allocation. The padding resembles allocations, so that the
    /// program guesses wrong starts of blocks.
    pub padding: usize,
    /// Whether fields of a future Nomad are shown.
    pub future: bool,
}

impl Style {
    /// `GET /v1/allocations`, as official builds answer.
    pub fn list(shuffle: u64) -> Self {
        Self {
            layout: Layout::Array,
            objects: Objects::Stub,
            encoder: Encoder::Server,
            sorted: false,
            never: Never::Null,
            escape_html: false,
            resources: false,
            empties: false,
            task_states: true,
            counters: true,
            floats: false,
            bom: false,
            shuffle,
            namespace: None,
            share: 100,
            topics: false,
            padding: 0,
            future: false,
        }
    }

    /// `GET /v1/node/:id/allocations` and other reads of whole allocations.
    pub fn read(shuffle: u64) -> Self {
        Self { objects: Objects::Full, ..Self::list(shuffle) }
    }

    /// The allocations of `nomad operator debug`.
    pub fn debug(shuffle: u64) -> Self {
        let (layout, encoder) = (Layout::Lines, Encoder::GoClient);
        Self { layout, encoder, never: Never::YearOne, escape_html: true, ..Self::list(shuffle) }
    }

    /// `nomad alloc status -json`.
    pub fn cli(shuffle: u64) -> Self {
        Self { layout: Layout::Pretty(4), encoder: Encoder::GoClient, sorted: true, ..Self::list(shuffle) }
    }

    /// `nomad operator snapshot state`.
    pub fn state(shuffle: u64) -> Self {
        let never = Never::YearOne;
        Self { layout: Layout::Allocs, never, escape_html: true, empties: true, ..Self::read(shuffle) }
    }

    /// A random style that shows all events of its allocations exactly. It may leave out allocations.
    pub fn any(random: &mut Random) -> Self {
        let pretty = Layout::Pretty(*random.pick(&[2, 4]));
        let layouts = [
            Layout::Array,
            Layout::Lines,
            Layout::Pages,
            Layout::Concatenated,
            pretty,
            Layout::PrettyConcatenated,
            Layout::Allocs,
        ];
        Self {
            layout: *random.pick(&layouts),
            objects: *random.pick(&[Objects::Stub, Objects::Stub, Objects::Full]),
            encoder: *random.pick(&[Encoder::Server, Encoder::Server, Encoder::GoClient]),
            sorted: random.chance(30),
            never: *random.pick(&[Never::Null, Never::Null, Never::YearOne, Never::Absent]),
            escape_html: random.chance(40),
            resources: random.chance(50),
            empties: random.chance(50),
            task_states: true,
            counters: true,
            floats: false,
            bom: random.chance(10),
            shuffle: random.number(),
            namespace: None,
            share: *random.pick(&[100, 100, 100, 60, 8]),
            topics: random.chance(50),
            padding: 0,
            future: random.chance(10),
        }
    }

    /// Also omits what old versions of Nomad, filters and scripts omit, and may round times.
    pub fn trimmed(self, random: &mut Random) -> Self {
        let (floats, task_states) = (random.chance(40), random.chance(85));
        Self { floats, task_states, counters: random.chance(60), ..self }
    }

    /// Returns true if the allocation with this number is shown.
    pub(crate) fn shows(&self, number: usize, namespace: &str) -> bool {
        let drawn = Random::new(self.shuffle ^ (number as u64) << 20).below(100);
        drawn < self.share as usize && self.namespace.is_none_or(|only| only == namespace)
    }
}
