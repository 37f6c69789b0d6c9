//! The library as its documentation uses it.

use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;
use crate::{example, support};

#[test]
fn the_example_of_the_library_gives_the_rows_of_the_command() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/cluster");
    let source = source.to_str().unwrap();
    let rows: Vec<_> = example::restarts(source).unwrap().iter().flat_map(support::json).collect();
    let answer = Sandbox::new().run(&["query", "restarts", source, "--format", "ndjson"]).exits_with(0);
    let expected: Vec<support::Row> = answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!expected.is_empty());
    assert_eq!(rows, expected);
}

/// The test above runs examples/restarts.rs. The example in the documentation must consist of lines of that program.
#[test]
fn the_example_in_the_documentation_of_the_library_is_that_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let mut blocks = library.split("//! ```");
    let documented = blocks.nth(1).expect("an example").lines().skip(1);
    let documented: Vec<&str> = documented.map(|line| line.trim_start_matches("//!").trim()).collect();
    assert!((10..=16).contains(&documented.len()), "{documented:?}");
    let program = fs::read_to_string(root.join("examples/restarts.rs")).unwrap();
    let program: Vec<&str> = program.lines().map(str::trim).collect();
    for line in documented.iter().filter(|line| !line.is_empty()) {
        assert!(program.contains(line), "{line:?} is not in examples/restarts.rs");
    }
}
