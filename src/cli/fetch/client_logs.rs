//! `fetch --logs`: saves the log of each client of the cluster.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::super::console::{Console, Verbosity};
use super::super::exit::Exit;
use super::super::result_file::ResultTarget;
use crate::intake::{Note, Observer};
use crate::nomad::agent_logs::{self, ClientNode};
use crate::nomad::{Client, Fault};
use crate::pipeline::plural;
use crate::source;

/// How often a log is requested until it arrives whole.
const TRIES: u32 = 3;
/// Bytes of a log that are held at a time.
const COPIED_AT_ONCE: u64 = 1 << 16;

/// A log that broke off.
#[derive(Debug, thiserror::Error)]
#[error("byte {at}: {why}")]
struct BrokenOff {
    at: u64,
    why: String,
}

/// Saves the logs as `DIRECTORY/client/NODE ID/STAMP.log.zst`, a path that tells the node of a log. What cannot be
/// saved is reported.
pub fn fetch(client: &Client, stale: bool, directory: &Path, stamp: &str, console: &Console) -> Exit {
    let nodes = agent_logs::clients(client, stale, &mut |fault| retry(console, "the clients", fault));
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(fault) => {
            console.note(Note::Rejected(format!("logs: {fault}")));
            return Exit::Rejected;
        }
    };
    let (mut logs, mut bytes, mut exit) = (0, 0, Exit::Done);
    for node in &nodes {
        let shown = format!("log of client {} ({})", node.name, node.id);
        if let Some(why) = node.refusal() {
            console.note(Note::Skipped(format!("{shown}: {why}"), true));
            continue;
        }
        let path = directory.join("client").join(&node.id).join(format!("{stamp}.log.zst"));
        match keep(client, node, &path, &shown, console) {
            Ok(size) => {
                (logs, bytes) = (logs + 1, bytes + size);
                console
                    .print_at(Verbosity::Verbose, &format!("wrote {size} bytes of the {shown} to {}", path.display()));
            }
            Err(problem) => {
                exit = Exit::Rejected;
                console.note(Note::Rejected(format!("{shown}: {problem:#}")));
                let fault = problem.downcast_ref();
                if matches!(fault, Some(Fault::Denied { .. } | Fault::NoLogs | Fault::Token(_) | Fault::Stopped)) {
                    break; // it applies to every client
                }
            }
        }
    }
    if logs == 0 {
        console.print("no log was written");
        return Exit::Rejected;
    }
    let of = plural(nodes.len() as u64, "client");
    let path: PathBuf = directory.join("client");
    console.print_at(
        Verbosity::Normal,
        &format!("wrote the logs of {logs} of {of}, {bytes} bytes, to {}", path.display()),
    );
    exit
}

fn retry(console: &Console, what: &str, fault: &Fault) {
    console.note(Note::Warning(format!("{what}: {fault}; retrying")));
}

/// Requests a log, saves it and returns its size. A log that breaks off is requested again and never saved. A log that
/// ends within a line may have broken off unnoticed; it is saved only if this happens at every try.
fn keep(client: &Client, node: &ClientNode, path: &Path, shown: &str, console: &Console) -> anyhow::Result<u64> {
    let mut tries = 1;
    loop {
        let body = agent_logs::export(client, &node.id, &mut |fault| retry(console, shown, fault))?;
        match save(body, path, tries == TRIES, console) {
            Err(problem) if problem.is::<BrokenOff>() && tries < TRIES => {
                console.note(Note::Warning(format!("{shown}: {problem}; retrying")));
                tries += 1;
            }
            Ok((size, false)) => {
                console.note(Note::Warning(format!("{shown}: it ends within a line, and may have been cut off")));
                return Ok(size);
            }
            result => return Ok(result?.0),
        }
    }
}

/// Writes a log to a file, which appears only when it is complete. Returns its size, and whether its last line is
/// complete. An incomplete last line is an error unless `is_last_try` is set.
fn save(mut body: impl Read, path: &Path, is_last_try: bool, console: &Console) -> anyhow::Result<(u64, bool)> {
    let mut head = Vec::new();
    let started = body.by_ref().take(source::LOG_HEAD as u64).read_to_end(&mut head);
    started.map_err(|error| BrokenOff { at: head.len() as u64, why: error.to_string() })?;
    if head.is_empty() {
        bail!("the client returns nothing; the log_file of its configuration must name a file, not a directory");
    }
    if !source::is_log(&head) {
        bail!("the client returns no log; it needs a log_file, or systemd must run it as the unit nomad");
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let (mut size, mut last) = (0, b'\n');
    let cannot = || format!("cannot write {}", path.display());
    ResultTarget::begin(Some(path))?.finish(|out| {
        let mut packed = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
        packed.include_checksum(true)?;
        let mut piece = head;
        while !piece.is_empty() {
            packed.write_all(&piece).with_context(cannot)?;
            console.read(piece.len() as u64);
            size += piece.len() as u64;
            last = piece.last().copied().unwrap_or(last);
            piece.clear();
            let read = body.by_ref().take(COPIED_AT_ONCE).read_to_end(&mut piece);
            read.map_err(|error| BrokenOff { at: size + piece.len() as u64, why: error.to_string() })?;
        }
        if last != b'\n' && !is_last_try {
            return Err(BrokenOff { at: size, why: "it ends within a line".into() }.into());
        }
        packed.finish().with_context(cannot)?;
        Ok(())
    })?;
    Ok((size, last == b'\n'))
}
