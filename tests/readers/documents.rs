//! Small real documents of every shape, cut from `samples/` so that tests can iterate over each byte.

use std::io::Read;
use std::path::Path;

use serde_json::value::RawValue;

/// A document with its description.
#[derive(Debug, Clone)]
pub struct Document {
    /// The description, for messages.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// All documents.
pub fn all() -> Vec<Document> {
    let listing = sample("cluster/20261123T183352Z.json");
    let elements = largest_first(&listing, 30);
    let stubs: Vec<&str> = elements.iter().rev().take(3).copied().collect();
    let full = text(&sample("allocation.json"));
    let old = text(&sample("nomad-0.6/allocations.json"));
    let stream = text(&sample("stream.ndjson.zst"));
    let mut frames: Vec<&str> = stream.lines().filter(|line| line.contains("\"Allocation\":{")).collect();
    frames.sort_by_key(|frame| frame.len());
    let bare = format!("{{\"Topic\":\"Allocation\",\"Payload\":{{\"Allocation\":{}}}}}", stubs[0]);
    let nodes = sample("cluster/nodes.json");
    let node = largest_first(&nodes, 1).concat();
    let document = |name, text: String| Document { name, bytes: text.into_bytes() };
    vec![
        document("array of stubs", format!("[{}]", stubs.join(","))),
        document("pretty array", pretty(&format!("[{}]", stubs.join(",")))),
        document("lines of stubs", stubs.join("\n") + "\n"),
        document("pages", format!("[{}]\n[]\n[{},{}]\n", stubs[0], stubs[1], stubs[2])),
        document("full allocation", full.clone()),
        document("full allocation, sorted and indented", text(&sample("cli/alloc-status.json"))),
        document("documentation of Nomad 0.6", old),
        document("frames of a stream", format!("{{}}\n{}\n{{}}\n{}\n", frames[0], frames[1])),
        document("bare events", format!("{bare}\n{bare}\n")),
        document(
            "bundle lines",
            format!("{}\n{{\"Error\":\"Unexpected response code: 500\"}}\n{}\n", stubs[0], stubs[1]),
        ),
        document("nodes", format!("[{node}]")),
        document(
            "dump",
            format!(r#"{{"ACLTokens":[],"Allocs":[{full}],"Jobs":[{{"ID":"x"}}],"Nodes":[{node}],"Z":{{}}}}"#),
        ),
        document("something else", r#"[{"Name":"x","Sizes":[1,2.5,-3e7,null,true]},"text",7]"#.into()),
        document("nothing", " [ ] ".into()),
    ]
}

/// The raw elements of an array, largest first.
fn largest_first(array: &[u8], most: usize) -> Vec<&str> {
    let elements: Vec<&RawValue> = serde_json::from_slice(array).expect("a sample is an array");
    let mut elements: Vec<&str> = elements.into_iter().map(RawValue::get).collect();
    elements.sort_by_key(|element| std::cmp::Reverse(element.len()));
    elements.truncate(most);
    elements
}

fn pretty(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).expect("a document is JSON");
    serde_json::to_string_pretty(&value).expect("a value can be written")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("a sample is UTF-8")
}

/// A file of `samples/`, decompressed.
pub fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
    let bytes = std::fs::read(&path).expect("a sample can be read");
    if !name.ends_with(".zst") {
        return bytes;
    }
    let mut plain = Vec::new();
    let mut decoder = zstd::Decoder::new(bytes.as_slice()).expect("a sample is zstd");
    decoder.read_to_end(&mut plain).expect("a sample is whole");
    plain
}
