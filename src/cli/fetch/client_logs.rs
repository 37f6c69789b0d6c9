//! `fetch --logs`: saves the log of each client of the cluster.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context, bail};

use super::super::console::{Console, Verbosity};
use super::super::exit::Exit;
use super::super::result_file::ResultTarget;
use crate::intake::{Note, Observer};
use crate::nomad::agent_logs::{self, ClientNode};
use crate::nomad::{Client, Fault};
use crate::pipeline::plural;
use crate::source::{self, fetch_file};

/// The maximum number of requests for a log that does not arrive complete.
const TRIES: u32 = 3;
/// How many clients are asked at a time. A client that does not answer costs the timeouts of several tries.
const AT_ONCE: usize = 8;

/// A log that broke off.
#[derive(Debug, thiserror::Error)]
#[error("byte {at}: {why}")]
struct BrokenOff {
    at: u64,
    why: String,
}

/// A log that a client returned.
struct FetchedLog {
    /// The log, compressed, in a file without a name.
    packed: File,
    /// Size of the log in bytes.
    size: u64,
    /// Whether its last line is complete.
    is_whole: bool,
}

/// What a client returned, and the messages about it in order.
struct Outcome {
    notes: Vec<Note>,
    /// `None` if its log cannot be requested.
    result: Option<anyhow::Result<FetchedLog>>,
}

/// Saves the logs as `DIRECTORY/client/NODE ID/STAMP.log.zst`, so that the path names the node of a log. Reports logs
/// that cannot be saved. Asks up to [`AT_ONCE`] clients at a time; messages are in the order of the clients.
pub fn fetch(client: &Client, stale: bool, directory: &Path, stamp: &str, console: &Console) -> Exit {
    let nodes = agent_logs::clients(client, stale, &mut |fault| console.note(retry("the clients", fault)));
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(fault) => {
            console.note(Note::Rejected(format!("logs: {fault}")));
            return Exit::Rejected;
        }
    };
    let ask = |node: &ClientNode| ask(client, node, directory, console);
    let mut saved = Saved::new(&nodes, directory, stamp, console);
    // The first client is asked alone, because some refusals apply to every client.
    let first = nodes.iter().position(|node| node.refusal().is_none()).map_or(nodes.len(), |n| n + 1);
    for (number, node) in nodes.iter().enumerate().take(first) {
        saved.add(number, ask(node));
    }
    let next = AtomicUsize::new(if saved.is_over { nodes.len() } else { first });
    thread::scope(|scope| {
        let (send, receive) = sync_channel(0);
        for _ in 0..AT_ONCE.min(nodes.len() - first) {
            let (send, next, nodes, ask) = (send.clone(), &next, &nodes, &ask);
            scope.spawn(move || {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(node) = nodes.get(number)
                    && send.send((number, ask(node))).is_ok()
                {}
            });
        }
        drop(send);
        for (number, outcome) in receive {
            saved.add(number, outcome);
            if saved.is_over {
                break;
            }
        }
    });
    saved.finish()
}

/// The counts of the logs saved so far, and the messages that wait until those of earlier clients are shown.
struct Saved<'a> {
    nodes: &'a [ClientNode],
    directory: &'a Path,
    stamp: &'a str,
    console: &'a Console,
    logs: u64,
    bytes: u64,
    exit: Exit,
    /// Whether a client refused for a reason that applies to every client.
    is_over: bool,
    messages: BTreeMap<usize, Vec<Message>>,
    /// The number of the next client whose messages are shown.
    next: usize,
}

/// A message about a client.
enum Message {
    Note(Note),
    /// Shown with `--verbose`.
    Detail(String),
}

impl<'a> Saved<'a> {
    fn new(nodes: &'a [ClientNode], directory: &'a Path, stamp: &'a str, console: &'a Console) -> Saved<'a> {
        let (messages, exit) = (BTreeMap::new(), Exit::Done);
        Saved { nodes, directory, stamp, console, logs: 0, bytes: 0, exit, is_over: false, messages, next: 0 }
    }

    /// Saves what a client returned, and shows the messages that are next in order.
    fn add(&mut self, number: usize, outcome: Outcome) {
        let node = &self.nodes[number];
        let mut messages: Vec<Message> = outcome.notes.into_iter().map(Message::Note).collect();
        if let Some(result) = outcome.result {
            let path = self.directory.join("client").join(&node.id).join(format!("{}.log.zst", self.stamp));
            match result.and_then(|log| save(log, &path)) {
                Ok(size) => {
                    (self.logs, self.bytes) = (self.logs + 1, self.bytes + size);
                    let what = format!("wrote {size} bytes of the {} to {}", shown(node), path.display());
                    messages.push(Message::Detail(what));
                }
                Err(problem) => {
                    self.exit = Exit::Rejected;
                    let fault = problem.downcast_ref();
                    self.is_over =
                        matches!(fault, Some(Fault::Denied { .. } | Fault::NoLogs | Fault::Token(_) | Fault::Stopped));
                    messages.push(Message::Note(Note::Rejected(format!("{}: {problem:#}", shown(node)))));
                }
            }
        }
        self.messages.insert(number, messages);
        while let Some(messages) = self.messages.remove(&self.next) {
            self.next += 1;
            self.show(messages);
        }
    }

    fn show(&self, messages: Vec<Message>) {
        for message in messages {
            match message {
                Message::Note(note) => self.console.note(note),
                Message::Detail(text) => self.console.print_at(Verbosity::Verbose, &text),
            }
        }
    }

    /// Shows the remaining messages and the totals.
    fn finish(mut self) -> Exit {
        std::mem::take(&mut self.messages).into_values().for_each(|messages| self.show(messages));
        if self.logs == 0 {
            self.console.print("no log was written");
            return Exit::Rejected;
        }
        let of = plural(self.nodes.len() as u64, "client");
        let path: PathBuf = self.directory.join("client");
        let (logs, bytes) = (self.logs, self.bytes);
        let text = format!("wrote the logs of {logs} of {of}, {bytes} bytes, to {}", path.display());
        self.console.print_at(Verbosity::Normal, &text);
        self.exit
    }
}

fn shown(node: &ClientNode) -> String {
    format!("log of client {} ({})", node.name, node.id)
}

fn retry(what: &str, fault: &Fault) -> Note {
    Note::Warning(format!("{what}: {fault}; retrying"))
}

/// Requests a log. A log that breaks off is requested again. A log that ends within a line may have been cut off
/// without an error, so it is requested again, too. If the log of the last try ends within a line, it is accepted with
/// a warning.
fn ask(client: &Client, node: &ClientNode, directory: &Path, console: &Console) -> Outcome {
    let shown = shown(node);
    if let Some(why) = node.refusal() {
        return Outcome { notes: vec![Note::Skipped(format!("{shown}: {why}"), true)], result: None };
    }
    let mut notes = Vec::new();
    let mut tries = 1;
    let result = loop {
        let body = agent_logs::export(client, &node.id, &mut |fault| notes.push(retry(&shown, fault)));
        let log = body.map_err(Into::into).and_then(|body| read(body, directory, console));
        let problem = match &log {
            Ok(log) if !log.is_whole => {
                Some(BrokenOff { at: log.size, why: "it ends within a line".into() }.to_string())
            }
            Err(problem) if problem.is::<BrokenOff>() => Some(problem.to_string()),
            _ => None,
        };
        match problem {
            Some(problem) if tries < TRIES => notes.push(Note::Warning(format!("{shown}: {problem}; retrying"))),
            _ => break log,
        }
        tries += 1;
    };
    if result.as_ref().is_ok_and(|log| !log.is_whole) {
        notes.push(Note::Warning(format!("{shown}: it ends within a line, and may have been cut off")));
    }
    Outcome { notes, result: Some(result) }
}

/// Reads a log into a file without a name.
fn read(mut body: impl Read, directory: &Path, console: &Console) -> anyhow::Result<FetchedLog> {
    let mut head = Vec::new();
    let started = body.by_ref().take(source::LOG_HEAD as u64).read_to_end(&mut head);
    started.map_err(|error| BrokenOff { at: head.len() as u64, why: error.to_string() })?;
    if head.is_empty() {
        bail!("the client returns nothing; the log_file of its configuration must name a file, not a directory");
    }
    if !source::is_log(&head) {
        bail!("the client returns no log; it needs a log_file, or systemd must run it as the unit nomad");
    }
    let cannot = || format!("cannot write to {}", directory.display());
    let file = tempfile::tempfile_in(directory).with_context(cannot)?;
    let mut body = Watched { body: head.chain(body), last: b'\n', console };
    let (size, packed, broke) = fetch_file::compress(&mut body, file).with_context(cannot)?;
    match broke {
        Some(error) => Err(BrokenOff { at: size, why: error.to_string() }.into()),
        None => Ok(FetchedLog { packed, size, is_whole: body.last == b'\n' }),
    }
}

/// A reader of a body that reports the progress and keeps the last byte.
struct Watched<'c, R> {
    body: R,
    last: u8,
    console: &'c Console,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        self.console.read(read as u64);
        self.last = buffer[..read].last().copied().unwrap_or(self.last);
        Ok(read)
    }
}

/// Writes a log to a file, which appears only when it is complete. Returns the size of the log.
fn save(mut log: FetchedLog, path: &Path) -> anyhow::Result<u64> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let cannot = || format!("cannot write {}", path.display());
    log.packed.rewind().with_context(cannot)?;
    ResultTarget::begin(Some(path))?.finish(|out| io::copy(&mut log.packed, out).map(drop).with_context(cannot))?;
    Ok(log.size)
}
