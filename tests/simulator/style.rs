//! The many shapes of one truth: who encoded it, how, and what was left out.

use crate::simulator::random::Random;

/// How the allocations of a document are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[…]`, as the API answers.
    Array,
    /// One a line, as a debug bundle has them.
    Lines,
    /// `[…]` of a few, then the next, as paging through the API and appending leaves them.
    Pages,
    /// One after the other without anything between.
    Concatenated,
    /// `[…]` over many lines with so many spaces a level: four in the CLI, two in most other tools.
    Pretty(usize),
    /// One over many lines after the other, as `jq '.[]'` leaves them.
    PrettyConcatenated,
    /// Under `Allocs` between other tables, as `nomad operator snapshot state` writes it.
    Allocs,
}

/// The list's short form or the whole allocation with its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objects {
    Stub,
    Full,
}

/// Which program's structs were written: they differ in fields and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    Server,
    /// The Go API client, in the CLI and in debug bundles.
    GoClient,
}

/// How "never" is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {
    Null,
    YearOne,
    Absent,
}

/// A document's shape. All combinations are fair; the functions name those that Nomad itself makes.
#[derive(Debug, Clone)]
pub struct Style {
    pub layout: Layout,
    pub objects: Objects,
    pub encoder: Encoder,
    /// Keys of every object in alphabetical order instead of the structs'.
    pub sorted: bool,
    pub never: Never,
    pub escape_html: bool,
    /// Whether stubs tell the resources.
    pub resources: bool,
    /// Whether full allocations keep fields that are empty.
    pub empties: bool,
    /// `false` as with `task_states=false`.
    pub task_states: bool,
    /// `false` leaves out `Restarts` and `LastRestart`, as before Nomad 0.6.
    pub counters: bool,
    /// Integers of nanoseconds as a float would print them, as after a pass through jq or JavaScript.
    pub floats: bool,
    pub bom: bool,
    /// Decides the order of maps, which differs in every response.
    pub shuffle: u64,
    /// Only the allocations of one namespace.
    pub namespace: Option<&'static str>,
    /// Only so many in a hundred of the allocations, drawn by `shuffle`.
    pub share: u32,
    /// In a stream: topics other than allocations too.
    pub topics: bool,
    /// So many bytes more in the job of every full allocation, of a kind that leads guesses astray.
    pub padding: usize,
    /// Fields of a Nomad that nobody has met.
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

    /// Any style that shows all of its allocations' events exactly, though perhaps not all allocations.
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

    /// The same with what old versions, filters and scripts leave out or spoil.
    pub fn trimmed(self, random: &mut Random) -> Self {
        let (floats, task_states) = (random.chance(40), random.chance(85));
        Self { floats, task_states, counters: random.chance(60), ..self }
    }

    /// Whether the allocation of this number is shown at all.
    pub(crate) fn shows(&self, number: usize, namespace: &str) -> bool {
        let drawn = Random::new(self.shuffle ^ (number as u64) << 20).below(100);
        drawn < self.share as usize && self.namespace.is_none_or(|only| only == namespace)
    }
}
