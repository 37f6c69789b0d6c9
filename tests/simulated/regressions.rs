//! Cases that failed once.

use std::path::{Path, PathBuf};

use alloclog::intake::IntakeOptions;
use alloclog::time::looks_like_float;

use super::compare::{Arrival, check};
use super::{directory, packed};
use crate::simulator::{Cluster, Config, Document, START, Style};
use crate::support::take;

/// Reads documents in this order, and checks all rows. Between two documents it inserts as many empty lists as there
/// are cores, so that each document is read after the previous one is finished.
fn check_in_order(cluster: &Cluster, documents: &[&Document]) {
    let directory = directory().expect("a directory");
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get());
    let filling = vec![Document { name: "empty.json".into(), bytes: b"[]".into(), ..Document::default() }; cores];
    let all = documents.iter().flat_map(|document| std::iter::once(*document).chain(&filling));
    let save = |(n, d): (usize, &Document)| packed::save(directory.path(), &format!("{n}-{}", d.name), &d.bytes);
    let saved: Vec<(PathBuf, &Document)> =
        all.enumerate().map(|(n, document)| (save((n, document)), document)).collect();
    let paths: Vec<&Path> = saved.iter().map(|(path, _)| path.as_path()).collect();
    let taken = take(&paths, &IntakeOptions::default());
    let arrivals: Vec<Arrival<'_>> = saved
        .iter()
        .map(|(path, document)| Arrival { source: path.display().to_string(), document, rejected: 0 })
        .collect();
    check(cluster, &arrivals, &|_| true, &taken).unwrap_or_else(|problem| panic!("{problem:#}"));
}

fn check_in_both_orders(cluster: &Cluster, first: &Document, second: &Document) {
    check_in_order(cluster, &[first, second]);
    check_in_order(cluster, &[second, first]);
}

/// A payload without its event has the same bytes as in the event, but it has another shape.
#[test]
fn an_allocation_extracted_from_its_stream_has_its_own_row_in_any_order() {
    let cluster = Cluster::simulate(1, Config::default());
    let style = Style::list(1);
    let (from, to) = (START, cluster.end());
    check_in_both_orders(&cluster, &cluster.frames(from, to, &style), &cluster.payloads(from, to, &style));
}

/// Conversion to a float leaves a few of the modification times as they are. It changes all other times of the same
/// allocations.
#[test]
fn an_exact_listing_hides_nothing_of_a_rounded_one_of_the_same_length() {
    let cluster = Cluster::simulate(2, Config { jobs: 150, ..Config::default() });
    let versions = cluster.allocations.iter().flat_map(|allocation| &allocation.versions);
    let telling = versions.filter(|version| version.steps.is_some() && looks_like_float(version.at));
    let exact = Style::list(2);
    let rounded = Style { floats: true, ..exact.clone() };
    for at in telling.map(|version| version.at).take(3) {
        check_in_both_orders(&cluster, &cluster.document(at, &exact), &cluster.document(at, &rounded));
    }
}

/// Thread timing decides whether an allocation is already known when a document is read. It must not change the notes
/// on the document.
#[test]
fn unknown_fields_are_counted_in_every_document_that_has_them() {
    let cluster = Cluster::simulate(3, Config::default());
    let style = Style { future: true, ..Style::list(3) };
    let (first, second) = (cluster.document(cluster.end(), &style), cluster.document(cluster.end() - 1, &style));
    check_in_order(&cluster, &[&first, &second, &first]);
}
