//! Files, directories and globs.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobBuilder;

use super::{Input, Place, Source};

/// Adds the files that one source means, in the order of their paths' bytes.
pub fn list(source: &Source, inputs: &mut Vec<Input>) -> Result<(), String> {
    let text = match source {
        Source::StandardInput => {
            inputs.push(Input { name: "-".into(), is_named: true, ..Input::default() });
            return Ok(());
        }
        Source::Cluster(cluster) => {
            let (name, place) = (source.to_string(), Place::Cluster(Arc::clone(cluster)));
            inputs.push(Input { name, place, is_named: true, ..Input::default() });
            return Ok(());
        }
        Source::Lake(_) => return Ok(()),
        Source::Path(text) => text,
    };
    let path = Path::new(text);
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let mut files = Vec::new();
            let problems = below(path, &mut files);
            files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
            inputs.extend(files.into_iter().map(|file| input(file, false)));
            inputs.extend(problems);
        }
        Ok(_) => inputs.push(input(path.to_owned(), true)),
        Err(_) if is_glob(text) => inputs.extend(matching(text)?),
        Err(e) => inputs.push(Input {
            name: text.clone(),
            is_named: true,
            problem: Some(format!("cannot be opened: {e}")),
            ..Input::default()
        }),
    }
    Ok(())
}

/// Whether a text that names no file can be a glob.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

fn input(path: PathBuf, is_named: bool) -> Input {
    let size = fs::metadata(&path).ok().map(|m| m.len());
    Input { name: path.to_string_lossy().into_owned(), place: Place::File(path), size, is_named, ..Input::default() }
}

/// The files below a directory, hidden ones left out; directories behind symbolic links are not entered, so that no
/// walk goes round in circles. What cannot be listed is returned.
fn below(directory: &Path, files: &mut Vec<PathBuf>) -> Vec<Input> {
    let mut problems = Vec::new();
    let mut unreadable = |path: &Path, e: std::io::Error| {
        problems.push(Input {
            name: path.to_string_lossy().into_owned(),
            problem: Some(format!("cannot be listed: {e}")),
            ..Input::default()
        });
    };
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) => {
                unreadable(&directory, e);
                continue;
            }
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    unreadable(&directory, e);
                    continue;
                }
            };
            if entry.file_name().as_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() || (kind.is_symlink() && path.is_file()) => files.push(path),
                _ => {} // sockets, devices, links to nowhere
            }
        }
    }
    problems
}

/// The files that a glob means. The walk begins at the last directory before the first wildcard.
fn matching(text: &str) -> Result<Vec<Input>, String> {
    let glob = GlobBuilder::new(text)
        .literal_separator(true)
        .build()
        .map_err(|e| format!("{text}: is not a file, and as a glob: {}", e.kind()))?
        .compile_matcher();
    let fixed = text.find(['*', '?', '[', '{']).unwrap_or(text.len());
    let start = text[..fixed].rfind('/').map_or(".", |slash| &text[..=slash]);
    let mut files = Vec::new();
    below(Path::new(start), &mut files);
    let mut files: Vec<PathBuf> = files
        .into_iter()
        .map(|path| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path))
        .filter(|path| glob.is_match(path))
        .collect();
    files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    if files.is_empty() {
        let problem = Some("no file matches".to_owned());
        return Ok(vec![Input { name: text.to_owned(), is_named: true, problem, ..Input::default() }]);
    }
    Ok(files.into_iter().map(|file| input(file, false)).collect())
}
