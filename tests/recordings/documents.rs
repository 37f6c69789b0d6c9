//! The documents in files, directories and archives, found by name and read only with serde_json.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde_json::{Deserializer, Value};

/// A file with its decompressed content.
pub struct Document {
    /// The path of the document. Inside an archive, the path of the archive and `:` come first, as in the program.
    pub name: String,
    /// The bytes of the document.
    pub bytes: Vec<u8>,
}

impl Document {
    /// The part of the document's name after the last `/` or `:`.
    pub fn file_name(&self) -> &str {
        self.name.rsplit(['/', ':']).next().unwrap_or(&self.name)
    }
}

/// A file's bytes, decompressed according to its extension.
pub fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let name = path.to_string_lossy();
    let result = if name.ends_with(".zst") {
        zstd::stream::read::Decoder::new(file).and_then(|mut inner| inner.read_to_end(&mut bytes))
    } else if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes)
    } else {
        { file }.read_to_end(&mut bytes)
    };
    result.unwrap_or_else(|e| panic!("{name}: {e}"));
    bytes
}

/// The files in a tar archive, named by their paths inside it.
pub fn unpack(path: &Path) -> Vec<Document> {
    let bytes = read(path);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut members = Vec::new();
    for entry in archive.entries().expect("a tar archive") {
        let mut entry = entry.expect("a whole tar archive");
        if entry.header().entry_type().is_file() {
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("a whole tar archive");
            members.push(Document { name, bytes });
        }
    }
    members
}

/// All documents of a source, in order of arrival: for a directory, in byte order of the paths.
pub fn of(path: &Path) -> Vec<Document> {
    if path.is_dir() {
        let mut files = Vec::new();
        below(path, &mut files);
        files.sort();
        return files.iter().flat_map(|file| of(Path::new(file))).collect();
    }
    let name = path.to_string_lossy().into_owned();
    if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".tar.")) {
        let members = unpack(path).into_iter();
        return members.map(|m| Document { name: format!("{name}:{}", m.name), bytes: m.bytes }).collect();
    }
    vec![Document { name, bytes: read(path) }]
}

fn below(directory: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
        let path = entry.expect("a directory that can be read").path();
        if path.is_dir() { below(&path, files) } else { files.push(path.to_string_lossy().into_owned()) }
    }
}

/// The kind of a value.
pub enum Found {
    /// An allocation of a list or a read.
    Allocation(Value),
    /// An allocation of an event stream.
    Streamed(Value),
    /// A client node.
    Node(Value),
    /// A list or a frame; both may be empty.
    List,
    /// Any other value.
    Other,
}

/// Calls `visit` for each value of a document; returns `false` if it is not valid JSON.
pub fn walk(bytes: &[u8], visit: &mut dyn FnMut(Found)) -> bool {
    let mut whole = true;
    for value in Deserializer::from_slice(bytes).into_iter::<Value>() {
        match value {
            Ok(value) => walk_value(value, visit),
            Err(_) => whole = false,
        }
    }
    whole
}

/// Calls `visit` for the content of a top-level value.
pub fn walk_value(mut value: Value, visit: &mut dyn FnMut(Found)) {
    let is_dump = value.get("Allocs").is_some_and(Value::is_array) && value.get("ID").is_none();
    if let Value::Array(elements) = value {
        visit(Found::List);
        elements.into_iter().for_each(|element| value_of(element, visit));
    } else if is_dump {
        for list in ["Allocs", "Nodes"] {
            visit(Found::List);
            let Value::Array(elements) = value[list].take() else { continue };
            elements.into_iter().for_each(|element| value_of(element, visit));
        }
    } else {
        value_of(value, visit);
    }
}

fn value_of(mut value: Value, visit: &mut dyn FnMut(Found)) {
    let has = |name: &str| value.get(name).is_some();
    // A job has the member Payload, too, but it also has an ID.
    let may_wrap = !has("ID");
    if has("TaskStates") || has("ClientStatus") {
        visit(Found::Allocation(value));
    } else if has("ID") && (has("NodeClass") || has("SchedulingEligibility")) {
        visit(Found::Node(value));
    } else if value.as_object().is_some_and(serde_json::Map::is_empty) {
        visit(Found::List);
    } else if may_wrap && let Some(Value::Array(events)) = value.get_mut("Events").map(Value::take) {
        visit(Found::List);
        events.into_iter().for_each(|event| value_of(event, visit));
    } else if may_wrap && let Some(mut payload) = value.get_mut("Payload").map(Value::take) {
        visit(Found::List);
        if let Some(allocation) = payload.get_mut("Allocation").map(Value::take) {
            visit(Found::Streamed(allocation));
        }
        if let Some(node) = payload.get_mut("Node").map(Value::take) {
            visit(Found::Node(node));
        }
    } else {
        visit(Found::Other);
    }
}
