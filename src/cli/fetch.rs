//! `alloclog fetch`: saves the raw listing of a live cluster, and the logs of its clients.

mod client_logs;

use std::cell::Cell;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::cluster;
use super::console::{Console, Verbosity};
use super::exit::Exit;
use super::result_file::ResultTarget;
use super::{redaction, signals};
use crate::error::Usage;
use crate::intake::{Note, Observer};
use crate::nomad::{Address, CancelToken, Client, secrets};
use crate::redact::{NameKind, Redactor};
use crate::source::fetch_file::{self, FetchMetadata, Fetched};
use crate::source::{self, Found, Input, ObservedFrom, Origin, SourceOptions, WillRetry};
use crate::time;

/// Maximum size of an allocation in bytes. An allocation with its job usually has a few hundred kilobytes.
const LARGEST_ALLOCATION: u64 = 256 << 20;

const EXAMPLES: &str = "\
Examples:
  alloclog fetch -o now.json.zst             the cluster of NOMAD_ADDR
  alloclog fetch https://nomad.example:4646 -o dumps/     named by UTC time
  alloclog fetch -o dumps/ --every 30s --for 10m          one every 30 seconds
  alloclog fetch -o dumps/ --logs            also what the clients logged
  alloclog export dumps/ -o tables           all of them, merged
  alloclog fetch -o now.json.zst --redact    to hand on: pseudonyms, no texts

Metadata of the request (time, Nomad's index, whether the listing is complete)
and the list of nodes are stored in the same file, in frames that zstd skips:
`zstd -dc now.json.zst` prints only the listing. A FILE that ends in .json is
not compressed; the metadata and the list of nodes are in FILE.meta.json.";

/// Save Nomad's raw listing of allocations to a file
///
/// Reading the file later gives the same rows as reading the cluster now.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Agent to query; by default --address or the environment
    #[arg(value_name = "ADDRESS", conflicts_with = "address")]
    agent: Option<String>,
    /// File to write, or a directory for files named by UTC time
    #[arg(short, long, value_name = "FILE|DIR")]
    output: PathBuf,
    /// Repeat at this interval; -o is a directory then
    ///
    /// The directory is created if missing.
    #[arg(long, value_name = "TIME", value_parser = cluster::span)]
    every: Option<Duration>,
    /// With --every, end after this time
    #[arg(long = "for", value_name = "TIME", value_parser = cluster::span, requires = "every")]
    lasting: Option<Duration>,
    /// Fetch only this namespace; * for all [NOMAD_NAMESPACE]
    ///
    /// By default the namespace in NOMAD_NAMESPACE, or all if it is not set.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Region to query
    #[arg(long, value_name = "NAME", env = "NOMAD_REGION", default_value = "", hide_default_value = true)]
    region: String,
    /// Fetch only allocations whose ID starts with this
    ///
    /// Nomad matches an even number of digits. For an odd number, the file may contain more than requested.
    #[arg(long, value_name = "ID", value_parser = cluster::prefix, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Fetch only these allocations, by full ID, with their jobs
    ///
    /// The file has one allocation per line. Possible secrets are removed: signed identities, and the job's
    /// environment, templates, driver configuration, payload and tokens.
    #[arg(long, value_name = "ID,...", value_delimiter = ',', conflicts_with = "prefix")]
    allocations: Vec<String>,
    /// With --allocations, keep possible secrets
    #[arg(long, requires = "allocations", conflicts_with = "redact")]
    everything: bool,
    /// Also save the log of each client; -o is a directory then
    ///
    /// The log is the active log file, or three days of the journal of the unit nomad. Needs Nomad 1.10.4 or later; the
    /// token needs agent { policy = "read" } and node { policy = "read" }. Each log is written to the file
    /// DIR/client/NODE ID/TIME.log.zst. Logs are free text with all names, so fetch cannot redact them; use --redact
    /// with report, timeline or export.
    #[arg(long, conflicts_with_all = ["every", "redact"])]
    logs: bool,
    #[command(flatten)]
    redaction: redaction::Args,
    /// Print only errors and rejected input
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    cluster: cluster::Args,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let address = match &args.agent {
        Some(text) => Address::parse(text).map_err(|problem| Usage(format!("ADDRESS: {problem}")))?,
        None => args.cluster.default_address()?,
    };
    let is_directory = args.output.is_dir() || args.output.as_os_str().to_string_lossy().ends_with('/');
    let writes_several = [("--every", args.every.is_some()), ("--logs", args.logs)];
    let flag = writes_several.into_iter().find(|(_, is_given)| *is_given);
    let is_directory = is_directory || (flag.is_some() && !names_a_file(&args.output));
    if let (Some((flag, _)), false) = (flag, is_directory) {
        return Err(Usage(format!("{flag} writes several files, so -o must be a directory")).into());
    }
    if args.output == Path::new("-") {
        return Err(Usage("-o must be a file or a directory; fetch cannot write to stdout".into()).into());
    }
    let ask = args.cluster.ask(args.namespace.as_deref(), &args.prefix);
    let cluster = args.cluster.cluster(address, &args.region, ask, args.every.is_some())?;
    let stop = cluster.client.stop().clone();
    let inputs = source::list(&[cluster::source(cluster)])?;
    let console = Console::new(Verbosity::from_flags(args.quiet, args.verbose), &inputs);
    cluster::announce(&inputs, &console);
    let redactor = args.redaction.redactor()?;
    signals::listen()?;
    if is_directory {
        fs::create_dir_all(&args.output).with_context(|| format!("cannot create {}", args.output.display()))?;
    }
    let result = fetch(args, &inputs, redactor.as_ref(), is_directory, &stop, &console);
    console.done();
    result
}

/// Fetches once or repeatedly.
fn fetch(
    args: &Args,
    inputs: &[Input],
    redactor: Option<&Redactor>,
    is_directory: bool,
    stop: &CancelToken,
    console: &Console,
) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let mut exit = Exit::Done;
    // The time since which the cluster has not answered. The outage and its end are printed once each.
    let mut failing: Option<Instant> = None;
    loop {
        let round = Instant::now();
        let warned = Cell::new(failing.is_some());
        let kept = keep_one(args, inputs, redactor, is_directory, console, &warned);
        let Some(every) = args.every else { return kept };
        match kept {
            Err(_) if stop.is_cancelled() => {}
            Err(problem) => {
                exit = Exit::Rejected;
                failing.get_or_insert(round);
                if !warned.get() {
                    console.print(&format!("{problem:#}; retrying until it answers"));
                }
            }
            Ok(kept) => {
                exit = if kept == Exit::Done { exit } else { kept };
                if let Some(since) = failing.take() {
                    let seconds = since.elapsed().as_secs_f64().ceil();
                    let line = format!("{}: answers again after {seconds} s", inputs[0].name);
                    console.print_at(Verbosity::Normal, &line);
                }
            }
        }
        let next = every.saturating_sub(round.elapsed());
        if args.lasting.is_some_and(|lasting| began.elapsed() + next > lasting) {
            return Ok(exit);
        }
        stop.sleep(next);
        if stop.is_cancelled() {
            return Ok(exit);
        }
    }
}

/// Returns true if a path is a file, or has the extension of a file that `fetch` writes.
fn names_a_file(path: &Path) -> bool {
    path.is_file() || path.extension().is_some_and(|ending| ["json", "zst"].iter().any(|of_file| ending == *of_file))
}

/// Fetches once and writes the file. Unless `warned` is set, warns of faults that will be retried, and sets `warned`.
fn keep_one(
    args: &Args,
    inputs: &[Input],
    redactor: Option<&Redactor>,
    is_directory: bool,
    console: &Console,
    warned: &Cell<bool>,
) -> anyhow::Result<Exit> {
    let (documents, mut exit) = match &inputs[0].location {
        source::Location::Cluster(cluster) if !args.allocations.is_empty() => {
            full_reads(args, &cluster.client, console)?
        }
        _ => documents(args, inputs, console, warned)?,
    };
    let documents = match redactor {
        Some(redactor) => redacted(documents, redactor, &mut exit, console)?,
        None => documents,
    };
    let first = documents.iter().find(|document| !document.is_nodes);
    let Some(first) = first else { bail!("{}: nothing was written", inputs[0].name) };
    let stamp = first.about.observed_at.as_deref().unwrap_or_default().replace(['-', ':'], "");
    let mut path = args.output.clone();
    if is_directory {
        path.push(format!("{stamp}.json.zst"));
    }
    let listings: u64 = documents.iter().filter(|document| !document.is_nodes).map(|document| document.bytes).sum();
    if path.extension().is_some_and(|ending| ending == "json") {
        plain(&path, documents)?
    } else {
        packed(&path, documents)?
    }
    console.print_at(Verbosity::Normal, &format!("wrote {listings} bytes of allocations to {}", path.display()));
    if args.logs
        && let source::Location::Cluster(cluster) = &inputs[0].location
    {
        // The logs are fetched after the listing, so that they reach at least to the newest event of the listing.
        let logs = client_logs::fetch(&cluster.client, cluster.ask.stale, &args.output, &stamp, console);
        exit = if logs == Exit::Done { exit } else { logs };
    }
    Ok(exit)
}

/// Replaces the names in documents. A document that cannot be read to its end is kept as far as it was read.
fn redacted(
    documents: Vec<Fetched>,
    redactor: &Redactor,
    exit: &mut Exit,
    console: &Console,
) -> anyhow::Result<Vec<Fetched>> {
    let namespace = |name: Option<String>| name.map(|name| redactor.name(NameKind::Namespace, &name));
    let mut kept = Vec::with_capacity(documents.len());
    for document in documents {
        let (about, is_nodes) = (document.about.clone(), document.is_nodes);
        let address = about.address.clone();
        let about = FetchMetadata {
            address: redactor.name(NameKind::Source, &about.address),
            region: redactor.name(NameKind::Region, &about.region),
            namespace: namespace(about.namespace),
            full_listing: namespace(about.full_listing),
            redacted_with: Some(redactor.key_name()),
            ..about
        };
        let rewrite = document.rewritten(about, |read, out| redactor.document(read, is_nodes, out));
        let (mut document, problem) = rewrite.context("cannot buffer the redacted listing")?;
        if let Some(problem) = problem {
            document.about.full_listing = None;
            // A broken connection is reported already.
            if *exit == Exit::Done {
                console.note(Note::Rejected(format!("{address}: {problem}")));
                *exit = Exit::Rejected;
            }
        }
        kept.push(document);
    }
    Ok(kept)
}

/// Writes a compressed file.
fn packed(path: &Path, documents: Vec<Fetched>) -> anyhow::Result<()> {
    ResultTarget::begin(Some(path))?.finish(|out| Ok(fetch_file::write_packed(out, documents)?))
}

/// Writes an uncompressed file, and its metadata next to it.
fn plain(path: &Path, documents: Vec<Fetched>) -> anyhow::Result<()> {
    let Some((beside, listing)) = fetch_file::plain(documents)? else {
        bail!(
            "the token can read only some namespaces, and an uncompressed .json file holds one listing: choose one with --namespace, or write to a .json.zst file or a directory"
        );
    };
    // Write the metadata first: without metadata, the listing would be read as a partial one.
    let output_target = ResultTarget::begin(Some(&fetch_file::sidecar_path(path)))?;
    output_target.finish(|out| Ok(serde_json::to_writer(out, &beside)?))?;
    ResultTarget::begin(Some(path))?.finish(|out| Ok(listing.write_plain(out)?))
}

/// Fetches the documents of one round.
fn documents(
    args: &Args,
    inputs: &[Input],
    console: &Console,
    warned: &Cell<bool>,
) -> anyhow::Result<(Vec<Fetched>, Exit)> {
    let mut documents = Vec::new();
    let mut exit = Exit::Done;
    let mut problem = None;
    let mut unreadable = None;
    source::walk(inputs, &SourceOptions::default(), None, &|bytes| console.read(bytes), &mut |found| {
        match found {
            Found::Document(origin, stream) => {
                let about = FetchMetadata::from_origin(&origin, inputs[0].name.clone(), &args.region);
                match Fetched::read(about, origin.is_nodes, stream) {
                    Err(e) => problem = Some(e),
                    Ok((mut document, broke)) => {
                        let will_retry = broke.as_ref().is_some_and(WillRetry::is_in);
                        if let Some(e) = &broke {
                            // Keep an incomplete listing, unless all of it is fetched again.
                            let note = format!("{}: byte {}: {e}", origin.name, document.bytes);
                            console.note(if will_retry { Note::Warning(note) } else { Note::Rejected(note) });
                            document.about.full_listing = None;
                        }
                        if !will_retry {
                            exit = if broke.is_some() { Exit::Rejected } else { exit };
                            documents.push(document);
                        }
                    }
                }
            }
            // The listing of a cluster contains no logs and no files.
            Found::Log(..) | Found::Known(..) | Found::EndOfFile(..) => {}
            Found::Skipped(origin, why) => console.note(Note::Skipped(format!("{}: {why}", origin.name), true)),
            Found::Warning(origin, what) => {
                if !warned.replace(true) {
                    console.note(Note::Warning(format!("{}: {what}", origin.name)));
                }
            }
            // With `--every`, the caller prints that the cluster answers again.
            Found::Recovered(origin, what) => {
                if args.every.is_none() {
                    console.note(Note::Recovered(format!("{}: {what}", origin.name)));
                }
            }
            Found::Unreadable(origin, why) => unreadable = Some(format!("{}: {why}", origin.name)),
        }
        problem.is_none()
    });
    match (problem, unreadable) {
        (Some(e), _) => Err(e).context("cannot buffer the listing"),
        (None, Some(why)) if documents.is_empty() => bail!("{why}; nothing was written"),
        (None, Some(why)) => {
            console.note(Note::Rejected(why));
            Ok((documents, Exit::Rejected))
        }
        (None, None) => Ok((documents, exit)),
    }
}

/// Fetches allocations one by one, and returns all of them as one document.
fn full_reads(args: &Args, client: &Client, console: &Console) -> anyhow::Result<(Vec<Fetched>, Exit)> {
    let mut text = Vec::new();
    let mut exit = Exit::Done;
    let mut observed = None;
    for id in &args.allocations {
        let read = client.ask(&format!("/v1/allocation/{id}"), &[], &mut |fault| {
            console.note(Note::Warning(format!("{id}: {fault}; retrying")));
        });
        let whole = read.map_err(anyhow::Error::from).and_then(|answer| {
            observed.get_or_insert((time::now(), ObservedFrom::Fetched));
            let mut whole = Vec::new();
            answer.body.take(LARGEST_ALLOCATION).read_to_end(&mut whole)?;
            let kept = if args.everything { whole } else { secrets::removed(&whole)?.into_bytes() };
            anyhow::Ok(kept)
        });
        match whole {
            Ok(whole) => {
                text.extend(whole);
                text.push(b'\n');
            }
            Err(problem) => {
                exit = Exit::Rejected;
                console.note(Note::Rejected(format!("{id}: {problem:#}")));
            }
        }
    }
    if text.is_empty() {
        return Ok((Vec::new(), exit));
    }
    let origin = Origin { observed, ..Origin::default() };
    let about = FetchMetadata::from_origin(&origin, client.address().to_string(), &args.region);
    let (document, _) = Fetched::read(about, false, &mut text.as_slice())?;
    Ok((vec![document], exit))
}
