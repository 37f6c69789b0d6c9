//! Lists the files of `queries/` for `src/query.rs`, each file after the files whose views it reads. So a new view
//! needs only a new file.

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
        let words = Words::of(&texts[name]);
        list.push_str(&format!(
            "    View {{ name: {name:?}, sql: include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/queries/{name}.sql\")), \
             reads: &{reads:?}, columns: &{columns:?} }},\n",
            reads = Vec::from_iter(words.reads()),
            columns = Vec::from_iter(words.columns()),
        ));
    }
    list.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("views.rs"), list)?;
    Ok(())
}

/// The names of the views in levels: first the views that read no other view, then those that read only views of the
/// first level, and so on. Within a level, the names are sorted. So the views of one level, which do not read each
/// other, are next to each other.
fn in_order(texts: &BTreeMap<String, String>) -> Result<Vec<&str>, String> {
    let mut waiting: BTreeMap<&str, BTreeSet<&str>> =
        texts.iter().map(|(name, sql)| (name.as_str(), views_read(sql, texts))).collect();
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

/// The views that a file names after FROM or JOIN.
fn views_read<'t>(sql: &str, texts: &'t BTreeMap<String, String>) -> BTreeSet<&'t str> {
    let reads = Words::of(sql).reads();
    reads.iter().filter_map(|name| texts.get_key_value(name)).map(|(name, _)| name.as_str()).collect()
}

/// The words of a file's SQL, without comments. A test compares the names found here with those that a parser finds.
struct Words(Vec<String>);

impl Words {
    fn of(sql: &str) -> Words {
        let code: Vec<&str> = sql.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code)).collect();
        let code = code.join(" ");
        // An opening bracket is a word, too: it distinguishes `name AS (SELECT` from `CAST(name AS`.
        let code = code.replace('(', " ( ");
        let is_end = |c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '(';
        Words(code.split(is_end).filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    /// The names after FROM or JOIN, except those of the file's own common table expressions: stored tables and views.
    fn reads(&self) -> BTreeSet<String> {
        let own: BTreeSet<&String> =
            self.0.windows(3).filter(|three| three[1] == "AS" && three[2] == "(").map(|three| &three[0]).collect();
        let named = self.0.windows(2).filter(|two| matches!(two[0].as_str(), "FROM" | "JOIN")).map(|two| &two[1]);
        named.filter(|name| *name != "(" && !own.contains(name)).cloned().collect()
    }

    /// All words in lower case that can be names of columns. A word after AS defines a name, so it is left out.
    fn columns(&self) -> BTreeSet<String> {
        let is_name = |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let given = std::iter::once(false).chain(self.0.iter().map(|word| word == "AS"));
        self.0
            .iter()
            .zip(given)
            .filter(|(word, is_given)| !is_given && is_name(word))
            .map(|(word, _)| word.clone())
            .collect()
    }
}
