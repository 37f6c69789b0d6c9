//! Lists the files of `queries/` for `src/query.rs`, each file after the files that it reads. So a new view needs only
//! a new file.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=queries");
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir("queries")? {
        let path = entry?.path();
        if let (Some("sql"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_stem()) {
            texts.insert(name.to_string_lossy().into_owned(), fs::read_to_string(&path)?);
        }
    }
    let mut list = String::from("&[\n");
    for name in in_order(&texts)? {
        list.push_str(&format!(
            "    View {{ name: {name:?}, sql: include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/queries/{name}.sql\")) }},\n"
        ));
    }
    list.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("views.rs"), list)?;
    Ok(())
}

/// The names of the views: first the views that read no other view, then those that read only the first ones, and so
/// on. Within each of these sets, the names are sorted. So views that do not read each other are next to each other.
fn in_order(texts: &BTreeMap<String, String>) -> Result<Vec<&str>, String> {
    let mut waiting: BTreeMap<&str, BTreeSet<&str>> =
        texts.iter().map(|(name, sql)| (name.as_str(), reads(sql, texts))).collect();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let ready: Vec<&str> = waiting.iter().filter(|(_, reads)| reads.is_empty()).map(|(name, _)| *name).collect();
        if ready.is_empty() {
            return Err(format!(
                "views of queries/ read each other: {}",
                waiting.into_keys().collect::<Vec<_>>().join(", ")
            ));
        }
        waiting.retain(|name, _| !ready.contains(name));
        waiting.values_mut().for_each(|reads| reads.retain(|name| !ready.contains(name)));
        order.extend(ready);
    }
    Ok(order)
}

/// The views that a file names after FROM or JOIN. A test compares the result with what an SQL parser finds.
fn reads<'t>(sql: &str, texts: &'t BTreeMap<String, String>) -> BTreeSet<&'t str> {
    let code: Vec<&str> = sql.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code)).collect();
    let code = code.join(" ");
    let words: Vec<&str> =
        code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
    let pairs = words.windows(2).filter(|pair| matches!(pair[0], "FROM" | "JOIN"));
    pairs.filter_map(|pair| texts.get_key_value(pair[1])).map(|(name, _)| name.as_str()).collect()
}
