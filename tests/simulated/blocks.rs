//! The program reads a document of many megabytes in blocks, and guesses where the first allocation of a block starts.
//! The guesses must not affect the result.

use alloclog::intake::IntakeOptions;

use super::compare::{Arrival, check};
use super::{directory, packed};
use crate::simulator::{Cluster, Config, Document, Encoder, Layout, MINUTE, Objects, Random, START, Style};
use crate::support::take;

/// The size of the intake's blocks.
const BLOCK: usize = 1 << 20;

fn check_large(cluster: &Cluster, document: &Document) {
    assert!(document.bytes.len() > 2 * BLOCK, "{} has only {} bytes", document.name, document.bytes.len());
    let directory = directory().expect("a directory");
    let path = packed::save(directory.path(), &document.name, &document.bytes);
    let taken = take(&[&path], &IntakeOptions::default());
    let arrival = Arrival { source: path.display().to_string(), document, rejected: 0 };
    check(cluster, &[arrival], &|_| true, &taken).unwrap_or_else(|problem| panic!("{}: {problem:#}", document.name));
}

#[test]
fn large_documents_of_every_layout_give_exactly_their_rows() {
    let mut random = Random::new(4);
    let cluster = Cluster::simulate(4, Config { jobs: 14, ..Config::default() });
    let at = START + 30 * MINUTE;
    for layout in [Layout::Array, Layout::Lines, Layout::Pages, Layout::Concatenated, Layout::Pretty(2), Layout::Allocs]
    {
        for encoder in [Encoder::Server, Encoder::GoClient] {
            let sorted = random.chance(50);
            let objects = Objects::Full;
            let style = Style { layout, encoder, sorted, objects, padding: 400_000, ..Style::list(random.number()) };
            check_large(&cluster, &cluster.document(at, &style));
        }
    }
}

#[test]
fn large_documents_whose_times_are_all_rounded_are_marked_from_their_first_row() {
    let cluster = Cluster::simulate(6, Config { jobs: 20, ..Config::default() });
    for layout in [Layout::Array, Layout::Lines] {
        let style = Style { layout, floats: true, padding: 400_000, ..Style::read(3) };
        check_large(&cluster, &cluster.document(START + 30 * MINUTE, &style));
    }
}

#[test]
fn long_streams_give_exactly_their_rows() {
    let cluster = Cluster::simulate(5, Config { jobs: 40, ..Config::default() });
    let style = Style { topics: true, ..Style::list(9) };
    check_large(&cluster, &cluster.frames(START, cluster.end(), &style));
}
