//! The order of the modules. Each module imports only the modules listed for it. These modules come before it in the
//! list, so the imports cannot form a circle. docs/design.md describes the purpose of each module.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules from the lowest to the highest: the name, and the modules that this module may import.
const LAYERS: [(&str, &[&str]); 20] = [
    ("error", &[]),
    ("glob", &["error"]),
    ("members", &[]),
    ("output", &["error"]),
    ("time", &[]),
    ("decode", &["members", "time"]),
    ("nomad", &["error", "members", "time"]),
    ("tables", &["decode", "error", "members", "time"]),
    ("redact", &["decode", "error", "tables"]),
    ("source", &["error", "glob", "nomad", "time"]),
    ("merge", &["decode", "glob", "tables", "time"]),
    ("presence", &["error", "tables", "time"]),
    ("store", &["error", "tables"]),
    ("intake", &["decode", "error", "merge", "presence", "source", "tables", "time"]),
    ("lake", &["error", "merge", "presence", "store", "tables", "time"]),
    ("query", &["error", "store", "tables", "time"]),
    ("render", &["error", "store", "time"]),
    ("report", &["error", "intake", "query", "render", "store", "tables", "time"]),
    (
        "pipeline",
        &[
            "error", "intake", "lake", "merge", "presence", "query", "redact", "render", "source", "store", "tables",
            "time",
        ],
    ),
    (
        "cli",
        &[
            "error", "glob", "intake", "lake", "merge", "nomad", "output", "pipeline", "query", "redact", "render",
            "report", "source", "store", "tables", "time",
        ],
    ),
];

/// Modules whose files import each other in circles: SQL expressions contain queries, and queries contain
/// expressions.
const RECURSIVE: [&str; 1] = ["query::sql"];

/// Each file as the path of its module, with the modules that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn modules_import_only_what_is_listed_for_them() {
    for (n, (module, may_import)) in LAYERS.iter().enumerate() {
        let lower: BTreeSet<&str> = LAYERS[..n].iter().map(|(lower, _)| *lower).collect();
        let upward: Vec<_> = may_import.iter().filter(|other| !lower.contains(**other)).collect();
        assert!(upward.is_empty(), "{module} may import {upward:?}, which do not come before it in the list");
    }
    let layers: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    for (file, imports) in imports() {
        let module = top(&file);
        let may_import = layers.get(module).unwrap_or_else(|| panic!("{module} is not in the list of layers"));
        for import in imports.iter().map(|import| top(import)).filter(|import| *import != module) {
            assert!(may_import.contains(&import), "{file} imports {import}");
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut imports = imports();
    // A module and the files inside it may import each other, because the module's file contains what they share.
    let is_within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with("::"));
    for (file, targets) in &mut imports {
        targets.retain(|target| !is_within(target, file) && !is_within(file, target));
        let recursive = RECURSIVE.iter().find(|module| is_within(file, module));
        targets.retain(|target| recursive.is_none_or(|module| !is_within(target, module)));
    }
    // A file is not in a circle if it imports none of the remaining files. Remove such files until no more are found.
    while let Some(done) = imports.iter().find(|(_, targets)| targets.is_empty()).map(|(file, _)| file.clone()) {
        imports.remove(&done);
        for targets in imports.values_mut() {
            targets.remove(&done);
        }
    }
    assert!(imports.is_empty(), "these files import each other in a circle, or import such files: {imports:#?}");
}

#[test]
fn imports_are_found_in_all_their_forms() {
    let files = ["a", "a::b", "a::c", "d"].map(str::to_owned).into();
    let text = "use crate::{a::{self, b}, d};\nuse super::c::Name as Other;\nuse std::fs;\nfn f() { crate::d::g() }";
    let found = imports_of("a::b", text, &files);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "a::c", "d"]);
    let found = imports_of("a", "mod b;\nuse b::{X, Y};\n", &files);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a::b"]);
}

#[test]
fn only_the_command_line_uses_clap_and_anyhow() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    read(&root, "", &mut files);
    for (file, text) in files.iter().filter(|(file, _)| top(file) != "cli") {
        for word in ["clap", "anyhow"] {
            assert!(!text.contains(word), "{file} names {word}: a library returns errors that its caller can match");
        }
    }
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

fn imports() -> Imports {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    read(&root, "", &mut files);
    let names: BTreeSet<String> = files.keys().cloned().collect();
    files.iter().map(|(file, text)| (file.clone(), imports_of(file, text, &names))).collect()
}

/// The files below a directory except the roots of the crates, without comments and unit tests.
fn read(directory: &Path, module: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = if module.is_empty() { stem.to_owned() } else { format!("{module}::{stem}") };
        if path.is_dir() {
            read(&path, &name, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !["lib", "main"].contains(&name.as_str()) {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            let lines = text.lines().map(|line| line.split("//").next().unwrap());
            files.insert(name, lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The files that a file imports, by `use` and by paths that begin with `crate` or `super`.
fn imports_of(file: &str, text: &str, files: &BTreeSet<String>) -> BTreeSet<String> {
    let mut paths = Vec::new();
    let mut rest = text;
    let mut others = String::new();
    while let Some(at) = rest.find("use ").filter(|at| rest[*at..].contains(';')) {
        others.push_str(&rest[..at]);
        let (tree, after) = rest[at + 4..].split_once(';').unwrap();
        let is_import = rest[..at].trim_end_matches("pub ").is_empty() || rest[..at].ends_with(['\n', ' ', ')']);
        if is_import && !tree.contains('"') {
            expand("", tree, &mut paths);
        } else {
            others.push_str(tree);
        }
        rest = after;
    }
    others.push_str(rest);
    for (at, _) in others.match_indices("crate::").chain(others.match_indices("super::")) {
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        paths.push(others[at..].split(|c| !is_path(c)).next().unwrap().to_owned());
    }
    let parent = |module: &str| module.rsplit_once("::").map_or(String::new(), |(parent, _)| parent.to_owned());
    let within =
        |module: &str, name: &str| if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
    let mut found = BTreeSet::new();
    for path in paths {
        let mut parts = path.split("::").filter(|part| !part.is_empty()).peekable();
        let mut base = match parts.peek() {
            Some(&"crate") => String::new(),
            Some(&"super") => file.to_owned(),
            Some(&"self") => file.to_owned(),
            Some(name) if files.contains(&within(file, name)) => file.to_owned(),
            _ => continue,
        };
        let mut target = None;
        for part in parts {
            match part {
                "crate" | "self" => {}
                "super" => base = parent(&base),
                name => base = within(&base, name),
            }
            target = files.get(&base).or(target);
        }
        found.extend(target.filter(|target| *target != file).cloned());
    }
    found
}

/// Adds the paths of a `use` tree.
fn expand(before: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((prefix, inside)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap().trim();
        let name = name.strip_suffix("self").unwrap_or(name);
        paths.push(format!("{before}{name}"));
        return;
    };
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&format!("{before}{prefix}"), &inside[begin..at], paths);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if !inside[begin..].trim().is_empty() {
        expand(&format!("{before}{prefix}"), &inside[begin..], paths);
    }
}
