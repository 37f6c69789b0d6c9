//! Globs that the shell did not expand. They are matched component by component, as in a shell: a component without a
//! wildcard is an ordinary name, and links are followed. A matching directory is read like a directory that the user
//! named. docs/decisions/0011-own-globs.md explains why no crate is used.

use std::fs;
use std::path::{Path, PathBuf};

use super::Input;
use super::directory::{entries, file_or_skipped, in_order, is_hidden, is_not_found, unreadable, walk};
use crate::error::Usage;
use crate::glob::Glob;

/// A component of a glob, between slashes.
enum GlobPart {
    /// A literal name.
    Name(String),
    /// Names that match; hidden names only if the component starts with a dot.
    Like(Glob, bool),
    /// `**`: the directory, and all directories below it.
    Any,
}

/// Returns true if a text that is not a file may be a glob.
pub fn may_be_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The files that match a glob, in byte order of their paths.
pub fn matching(text: &str) -> Result<Vec<Input>, Usage> {
    let wrong = |problem: Usage| Usage(format!("{text}: is not a file, and as a glob: {problem}"));
    Glob::new(text).map_err(wrong)?;
    let mut found = Vec::new();
    for pattern in alternatives(text) {
        let start = if pattern.starts_with('/') { "/" } else { "" };
        let parts = pattern.split('/').filter(|part| !part.is_empty()).map(part);
        let parts: Vec<GlobPart> = parts.collect::<Result<_, _>>().map_err(wrong)?;
        follow(PathBuf::from(start), &parts, pattern.ends_with('/'), &mut found);
    }
    if found.is_empty() {
        let problem = Some("no file matches".to_owned());
        return Ok(vec![Input { name: text.to_owned(), is_named: true, problem, ..Input::default() }]);
    }
    Ok(in_order(found))
}

fn part(text: &str) -> Result<GlobPart, Usage> {
    if text == "**" {
        return Ok(GlobPart::Any);
    }
    let (mut name, mut is_escaped) = (String::new(), false);
    for char in text.chars() {
        match char {
            '\\' if !is_escaped => is_escaped = true,
            '*' | '?' | '[' if !is_escaped => return Ok(GlobPart::Like(Glob::new(text)?, text.starts_with('.'))),
            _ => {
                name.push(char);
                is_escaped = false;
            }
        }
    }
    Ok(GlobPart::Name(name))
}

/// Expands braces: `{a,b/c}.json` to `a.json` and `b/c.json`.
fn alternatives(text: &str) -> Vec<String> {
    let Some(positions) = first_braces(text) else { return vec![text.to_owned()] };
    let (before, after) = (&text[..positions[0]], &text[positions[positions.len() - 1] + 1..]);
    let between = positions.windows(2).map(|pair| &text[pair[0] + 1..pair[1]]);
    between.flat_map(|inside| alternatives(&format!("{before}{inside}{after}"))).collect()
}

/// The positions of the first opening brace, its commas, and its closing brace.
fn first_braces(text: &str) -> Option<Vec<usize>> {
    let (mut positions, mut depth) = (Vec::new(), 0);
    let (mut is_escaped, mut is_class) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b']' => is_class = false,
            _ if is_class => {}
            b'[' => is_class = true,
            b'{' => {
                depth += 1;
                if depth == 1 {
                    positions.push(at);
                }
            }
            b',' if depth == 1 => positions.push(at),
            b'}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    positions.push(at);
                    return Some(positions);
                }
            }
            _ => {}
        }
    }
    None
}

/// Adds the matches of the components below a path.
fn follow(path: PathBuf, parts: &[GlobPart], is_directory_meant: bool, found: &mut Vec<Input>) {
    let Some((part, rest)) = parts.split_first() else {
        if is_directory(&path, found) {
            found.extend(walk(&path));
        } else if !is_directory_meant {
            found.push(file_or_skipped(path));
        }
        return;
    };
    let go_on = |path: PathBuf, found: &mut Vec<Input>| {
        if rest.is_empty() || is_directory(&path, found) {
            follow(path, rest, is_directory_meant, found);
        }
    };
    match part {
        GlobPart::Name(name) => {
            let path = path.join(name);
            // A dangling link matches, too.
            if !rest.is_empty() || fs::symlink_metadata(&path).is_ok() {
                go_on(path, found);
            }
        }
        GlobPart::Like(glob, takes_hidden) => match entries(&path) {
            Ok(entries) => {
                for (path, _) in entries {
                    let is_match = path.file_name().is_some_and(|name| glob.is_match(&name.to_string_lossy()));
                    if is_match && (*takes_hidden || !is_hidden(&path)) {
                        go_on(path, found);
                    }
                }
            }
            Err(e) if is_not_found(&e) => {}
            Err(e) => found.push(unreadable(&path, &e)),
        },
        GlobPart::Any if rest.is_empty() => found.extend(walk(&path)),
        GlobPart::Any => {
            let mut open = vec![path];
            while let Some(path) = open.pop() {
                match entries(&path) {
                    Ok(entries) => {
                        let directories = entries.into_iter().filter(|(path, kind)| kind.is_dir() && !is_hidden(path));
                        open.extend(directories.map(|(path, _)| path));
                        follow(path, rest, is_directory_meant, found);
                    }
                    Err(e) if is_not_found(&e) => {}
                    Err(e) => found.push(unreadable(&path, &e)),
                }
            }
        }
    }
}

/// Returns true if a directory exists; reports a directory that is inaccessible.
fn is_directory(path: &Path, found: &mut Vec<Input>) -> bool {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match fs::metadata(path) {
        Ok(meta) => meta.is_dir(),
        Err(e) => {
            if !is_not_found(&e) {
                found.push(unreadable(path, &e));
            }
            false
        }
    }
}
