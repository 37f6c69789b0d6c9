//! Directories, globs and archives: what is read, and the notes on everything else.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::sandbox::{Finished, Sandbox, allocation};
use crate::support::{Exported, Row};

/// The `cli-flags.json` of a bundle that lists the namespace `prod`.
const PROD: &str = r#"{"Actual":{"namespace":{"Name":"namespace","Value":"prod"}},"Formal":{}}"#;

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).expect("a file that can be archived");
    }
    builder.into_inner().expect("files that can be archived")
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip_as(SimpleFileOptions::default(), files)
}

fn zip_as(options: SimpleFileOptions, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = ZipWriter::new(Cursor::new(vec![]));
    for (name, bytes) in files {
        out.start_file(*name, options).expect("a file that can be archived");
        out.write_all(bytes).expect("a file that can be archived");
    }
    out.finish().expect("files that can be archived").into_inner()
}

/// Exports the ledger and the history of allocations from these sources.
fn read(sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    sandbox.export(&[arguments, &["--table", "snapshots,allocation_history", "-o", "out", "--force"]].concat())
}

/// Like `read`, with the source on stdin.
fn read_piped(sandbox: &Sandbox, bytes: &[u8]) -> Finished {
    let flags = ["export", "-", "--table", "snapshots,allocation_history", "-o", "out", "--force"];
    let mut command = sandbox.command(&flags);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("a reader");
    Finished::from_output(child.wait_with_output().expect("an end"))
}

fn ledger(sandbox: &Sandbox) -> Vec<Row> {
    Exported::read(&sandbox.path("out"), "snapshots")
}

/// The namespace that each document lists completely.
fn covered(sandbox: &Sandbox) -> Vec<Option<String>> {
    let namespace = |row: &Row| row["namespace"].as_str().map(str::to_owned).filter(|_| row["is_full_listing"] == true);
    ledger(sandbox).iter().map(namespace).collect()
}

/// The allocations that were read.
fn allocations(sandbox: &Sandbox) -> Vec<String> {
    let rows = Exported::read(&sandbox.path("out"), "allocation_history");
    let mut ids: Vec<String> = rows.iter().filter_map(|row| row["alloc_id"].as_str().map(str::to_owned)).collect();
    ids.sort();
    ids
}

#[test]
fn a_packed_bundle_uses_its_flags_even_if_they_come_last() {
    let sandbox = Sandbox::new();
    let listing = allocation("a", "prod", "j");
    let members =
        [("b/interval/0000/allocations.json", listing.as_bytes()), ("b/cluster/cli-flags.json", PROD.as_bytes())];
    let other = [("c/interval/0000/allocations.json", listing.as_bytes()), ("c/cluster/cli-flags.json", b"{}")];
    let prod = [Some("prod".to_owned())];
    for (name, bytes) in [
        ("last.tar", tar(&members)),
        ("last.zip", zip(&members)),
        ("last.tar.zst", zstd::encode_all(&tar(&members)[..], 1).expect("bytes")),
        ("inner.zip", zip(&[("last.tar", &tar(&members)), ("other.tar", &tar(&other)[..10])])),
        ("inner.tar", tar(&[("last.zip", &zip(&members))])),
    ] {
        sandbox.file(name, bytes);
        read(&sandbox, &[name]);
        assert_eq!(covered(&sandbox), prod, "{name}");
    }
    // Two bundles with the same name in one archive have separate flags.
    let unflagged = [("b/interval/0000/allocations.json", allocation("b", "x", "j"))];
    let unflagged = unflagged.each_ref().map(|(name, text)| (*name, text.as_bytes()));
    sandbox.file("two.tar", tar(&[("prod.tar", &tar(&members)), ("old.tar", &tar(&unflagged))]));
    read(&sandbox, &["two.tar"]).exits_with(0);
    assert_eq!(covered(&sandbox), [Some("prod".to_owned()), Some("default".to_owned())]);
    // A zip has an index of its files, also when it is read from a pipe.
    read_piped(&sandbox, &zip(&members)).exits_with(0);
    assert_eq!(covered(&sandbox), prod);
    // A tar has no index, so the program does not assume a namespace.
    read_piped(&sandbox, &tar(&members))
        .exits_with(0)
        .stderr_has("it does not count as a full listing: give the archive as a file");
    assert_eq!(covered(&sandbox), [None]);
    let flags_first = [members[1], members[0]];
    read_piped(&sandbox, &tar(&flags_first)).exits_with(0);
    assert_eq!(covered(&sandbox), prod);
}

#[test]
fn a_bundle_with_unreadable_flags_has_no_full_listing() {
    let sandbox = Sandbox::new();
    let listing = allocation("a", "prod", "j");
    let members =
        [("interval/0000/allocations.json", listing.as_bytes()), ("cluster/cli-flags.json", &PROD.as_bytes()[..40])];
    sandbox.file("b.tar", tar(&members));
    for (name, bytes) in members {
        sandbox.file(&format!("b/{name}"), bytes);
    }
    // In an unpacked bundle, the damaged flags are a damaged document, too.
    for (source, code) in [("b.tar", 0), ("b", 3)] {
        read(&sandbox, &[source])
            .exits_with(code)
            .stderr_has("cli-flags.json of its bundle cannot be read")
            .stderr_has("--full-listing");
        assert_eq!(covered(&sandbox), [None], "{source}");
        read(&sandbox, &[source, "--full-listing", "--namespace", "prod"]).exits_with(code);
        assert!(covered(&sandbox).contains(&Some("prod".to_owned())), "{source}");
    }
    // If the archive is truncated, the missing part may have contained the flags.
    sandbox.file("cut.tar", &tar(&members)[..1600]);
    read(&sandbox, &["cut.tar"]).exits_with(3);
    assert_eq!(covered(&sandbox), [None]);
}

/// One node, as a list.
const NODES: &str = r#"[{"ID":"n","Name":"n","NodeClass":"c","Datacenter":"d","Status":"ready","ModifyIndex":3}]"#;

#[test]
fn lists_of_nodes_and_streams_are_not_full_listings_even_with_the_flag() {
    let sandbox = Sandbox::new();
    let frame = |events: &str| format!("{{\"Index\":1,\"Events\":[{events}]}}\n{{}}\n");
    let event = format!(r#"{{"Topic":"Allocation","Payload":{{"Allocation":{}}}}}"#, allocation("b", "x", "j"));
    sandbox
        .file("d/20261123T190000Z.json", format!("[{}]", allocation("a", "x", "j")))
        .file("d/20261123T210000Z-nodes.json", NODES)
        .file("d/20261123T220000Z-stream.json", frame(&event))
        .file("d/20261123T230000Z-quiet.json", frame(""));
    read(&sandbox, &["d", "--full-listing"]).exits_with(0);
    assert_eq!(covered(&sandbox), [Some("*".to_owned()), None, None, None]);
    sandbox.file("empty.json", "[]");
    read(&sandbox, &["empty.json", "--full-listing"]).exits_with(0);
    assert_eq!(covered(&sandbox), [Some("*".to_owned())]);
}

#[test]
fn a_directory_or_glob_without_allocations_is_a_failure() {
    let sandbox = Sandbox::new();
    sandbox
        .file("nodes/a.json", NODES)
        .file("beat/a.json", "{}")
        .file("beat/notes.txt", "hello")
        .file("quiet/a.ndjson", "{\"Index\":7,\"Events\":[]}\n{}\n")
        .file("nothing/a.ndjson", "")
        .file("empty/a.json", "[]")
        .file("bare/a.json", format!("{{\"Nodes\":{NODES},\"Allocs\":[]}}"))
        .file("state/a.json", format!("{{\"Nodes\":{NODES},\"Allocs\":[{}]}}", allocation("a", "x", "j")));
    for source in ["nodes", "beat", "quiet", "nothing", "nodes/*.json", "{beat,quiet}/*"] {
        read(&sandbox, &[source]).exits_with(1).stderr_has(&format!("{source}: no allocations found"));
    }
    for source in ["nodes", "nodes/*.json"] {
        read(&sandbox, &["state", source]).exits_with(1).stderr_has(&format!("{source}: no allocations found"));
    }
    // A stream without events is a valid source if there are other sources.
    for source in ["beat", "quiet", "nothing", "{beat,quiet}/*"] {
        read(&sandbox, &["state", source]).exits_with(0);
        read(&sandbox, &[source, "nodes"]).exits_with(1);
    }
    // An empty list is a valid source, also in a dump with nodes. So is a dump with nodes and allocations. A file
    // without allocations is valid if it is named explicitly.
    for sources in [&["empty"][..], &["empty/*"], &["bare"], &["state"], &["nodes/a.json", "state"], &["nodes/a.json"]]
    {
        read(&sandbox, sources).exits_with(0);
    }
}

#[test]
fn an_empty_directory_is_not_a_lake() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("empty")).expect("a directory");
    for flags in [&["--strict"][..], &["--full-listing"], &["--observed-at", "2026-11-23T18:00:00Z"]] {
        read(&sandbox, &[&["empty"], flags].concat()).exits_with(1).stderr_has("empty: no allocations found");
    }
}

#[test]
fn a_glob_matches_what_a_shell_would_match() {
    let sandbox = Sandbox::new();
    for (n, name) in ["a.json", "b.json", "sub/d.json", "sub/deep/e.json", "x1/x.json", ".h/x.json"].iter().enumerate()
    {
        sandbox.file(&format!("g/{name}"), format!("[{}]", allocation(&n.to_string(), "n", "j")));
    }
    symlink("sub", sandbox.path("g/link")).expect("a link");
    for (glob, names) in [
        ("g/*.json", &["g/a.json", "g/b.json"][..]),
        ("./g/*.json", &["./g/a.json", "./g/b.json"]),
        (".//g/*.json", &["./g/a.json", "./g/b.json"]),
        ("g/./a*.json", &["g/./a.json"]),
        ("g/sub/../a*.json", &["g/sub/../a.json"]),
        ("g/l*/*.json", &["g/link/d.json"]),
        ("g/link/*.json", &["g/link/d.json"]),
        ("g/x*", &["g/x1/x.json"]),
        ("g/[lx]*/", &["g/link/d.json", "g/link/deep/e.json", "g/x1/x.json"]),
        ("g/**/*.json", &["g/a.json", "g/b.json", "g/sub/d.json", "g/sub/deep/e.json", "g/x1/x.json"]),
        ("g/**", &["g/a.json", "g/b.json", "g/sub/d.json", "g/sub/deep/e.json", "g/x1/x.json"]),
        ("**/deep", &["g/sub/deep/e.json"]),
        ("g/{a,sub/d,gone}.json", &["g/a.json", "g/sub/d.json"]),
        ("g/{[!a],{a,b}}.json", &["g/a.json", "g/b.json"]),
        ("g/.*/*.json", &["g/.h/x.json"]),
        ("g/\\a.jso?", &["g/a.json"]),
    ] {
        read(&sandbox, &[glob]).exits_with(0);
        let sources: Vec<String> =
            ledger(&sandbox).iter().map(|row| row["source"].as_str().unwrap_or("").into()).collect();
        assert_eq!(sources, names, "{glob}");
    }
    for nothing in ["g/*.JSON", "g/a.json/*", "gone/*", "g/*.json/", "g/h*/x.json"] {
        read(&sandbox, &[nothing]).exits_with(1).stderr_has(&format!("rejected: {nothing}: no file matches"));
    }
    read(&sandbox, &["g/[a"]).exits_with(2).stderr_has("g/[a: is not a file, and as a glob: ");
}

#[test]
fn a_glob_reports_a_directory_that_cannot_be_listed() {
    let sandbox = Sandbox::new();
    sandbox.file("d/a.json", format!("[{}]", allocation("a", "n", "j"))).file("d/locked/b.json", "[]");
    let locked = sandbox.path("d/locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("rights can be set");
    // The superuser can list the directory, so the check needs another user.
    if fs::read_dir(&locked).is_err() {
        for source in ["d", "d/**/*.json", "d/*"] {
            read(&sandbox, &[source]).exits_with(3).stderr_has("rejected: d/locked: cannot be listed");
        }
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).expect("rights can be set");
}

#[test]
fn skipped_files_of_a_directory_are_reported() {
    let sandbox = Sandbox::new();
    sandbox
        .file("d/a.json", format!("[{}]", allocation("a", "n", "j")))
        .file("d/.hidden.json", "[]")
        .file("d/.git/config", "x")
        .file("d/.git/objects/y", "x")
        .file("elsewhere/b.json", "[]")
        .file("only/.a.json", "[]");
    for (link, to) in [("loop", "."), ("linked", "../elsewhere"), ("dangling", "nowhere"), ("self", "self")] {
        symlink(to, sandbox.path("d").join(link)).expect("a link");
    }
    let pipe = std::process::Command::new("mkfifo").arg(sandbox.path("d/pipe")).status().expect("mkfifo");
    assert!(pipe.success());
    let hidden = "is hidden, and read only if named explicitly";
    let linked = "is a link to a directory, which is read only if named explicitly";
    let expected = [
        format!("d/.git: {hidden}"),
        format!("d/.hidden.json: {hidden}"),
        "d/dangling: is a dangling link".into(),
        format!("d/linked: {linked}"),
        format!("d/loop: {linked}"),
        "d/pipe: is a pipe, a socket or a device".into(),
        "d/self: is a dangling link".into(),
    ];
    let skipped = |flags: &[&str]| {
        let ran = read(&sandbox, flags).exits_with(0);
        let lines = ran.err.lines().filter_map(|line| line.strip_prefix("alloclog: skipped: "));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(skipped(&["d", "-v"]), expected);
    // Without -v, there is one line with the number of files, and an example for the most frequent reason.
    let [line] = &skipped(&["d"])[..] else { panic!("one line") };
    assert!(
        line.ends_with("; and 6 more files (-v names them)") && expected.iter().any(|one| line.starts_with(one)),
        "{line}"
    );
    let ran = read(&sandbox, &["d", "-q"]).exits_with(0);
    assert_eq!(ran.err, "");
    read(&sandbox, &["only"]).exits_with(1).stderr_has(&format!("skipped: only/.a.json: {hidden}"));
}

#[test]
fn a_zip_without_a_directory_is_rejected_as_damaged() {
    let sandbox = Sandbox::new();
    let texts = ["a", "b"].map(|id| format!("[{}]", allocation(id, "n", "j")));
    let bytes = zip(&[("a.json", texts[0].as_bytes()), ("b.json", texts[1].as_bytes())]);
    let directory = memchr::memmem::find(&bytes, b"PK\x01\x02").expect("a directory");
    sandbox.file("other.json", format!("[{}]", allocation("c", "n", "j")));
    for end in [directory, directory + 60, bytes.len() - 10] {
        sandbox.file("cut.zip", &bytes[..end]);
        read(&sandbox, &["cut.zip", "other.json"]).exits_with(3).stderr_has("rejected: cut.zip: is a damaged zip");
        assert_eq!(allocations(&sandbox), ["c"], "up to {end}");
        let ran = read_piped(&sandbox, &bytes[..end]).exits_with(1);
        assert!(ran.err.contains("is a damaged zip") && ran.err.contains("zip -FF"), "{}", ran.err);
    }
}

#[test]
fn the_end_of_a_nested_zip_is_not_mistaken_for_that_of_the_outer_one() {
    let sandbox = Sandbox::new();
    let texts = ["a", "b"].map(|id| format!("[{}]", allocation(id, "n", "j")));
    let inner = zip(&[("a.json", texts[0].as_bytes())]);
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let outer = zip_as(stored, &[("in.zip", &inner), ("b.json", texts[1].as_bytes())]);
    sandbox.file("outer.zip", &outer);
    read(&sandbox, &["outer.zip"]).exits_with(0);
    assert_eq!(allocations(&sandbox), ["a", "b"]);
    sandbox.file("outer.zip", &outer[..outer.len() - 10]);
    read(&sandbox, &["outer.zip"]).exits_with(1).stderr_has("outer.zip: is a damaged zip");
}

#[test]
fn duplicate_zip_entries_are_read_and_encrypted_ones_reported() {
    let sandbox = Sandbox::new();
    let texts = ["a", "b"].map(|id| format!("[{}]", allocation(id, "n", "j")));
    let bytes = zip(&[("a.json", texts[0].as_bytes()), ("b.json", texts[1].as_bytes())]);
    let places = |what: &[u8]| memchr::memmem::find_iter(&bytes, what).collect::<Vec<usize>>();
    let mut same = bytes.clone();
    places(b"b.json").into_iter().for_each(|at| same[at] = b'a');
    sandbox.file("same.zip", &same);
    read(&sandbox, &["same.zip"]).exits_with(0);
    assert_eq!(allocations(&sandbox), ["a", "b"]);
    let mut encrypted = bytes.clone();
    encrypted[places(b"PK\x03\x04")[0] + 6] |= 1;
    encrypted[places(b"PK\x01\x02")[0] + 8] |= 1;
    sandbox.file("encrypted.zip", &encrypted);
    read(&sandbox, &["encrypted.zip"]).exits_with(3).stderr_has("rejected: encrypted.zip:a.json: is encrypted");
    assert_eq!(allocations(&sandbox), ["b"]);
}

#[test]
fn a_document_with_ustar_at_the_tar_offset_is_json() {
    let sandbox = Sandbox::new();
    let text = allocation("a", "n", "mustard");
    let at = text.find("ustard").expect("it is there");
    let text = format!("{}{text}", " ".repeat(257 - at));
    assert_eq!(&text[257..262], "ustar");
    sandbox.file("a.json", text);
    read(&sandbox, &["a.json"]).exits_with(0);
    assert_eq!(allocations(&sandbox), ["a"]);
    // A tar is detected even if its first header is damaged.
    let mut damaged = tar(&[("a.json", b"[]")]);
    damaged[150] = b'x';
    sandbox.file("a.tar", damaged);
    read(&sandbox, &["a.tar"]).exits_with(1).stderr_has("rejected: a.tar: is a tar that cannot be read further");
}

#[test]
fn an_old_format_tar_is_detected_by_its_checksum() {
    let sandbox = Sandbox::new();
    let text = allocation("a", "n", "j");
    let mut builder = tar::Builder::new(vec![]);
    for (name, bytes) in [("d/", ""), ("[d]/a.json", text.as_str())] {
        let mut header = tar::Header::new_old();
        header.set_path(name).expect("a name");
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, bytes.as_bytes()).expect("a file that can be archived");
    }
    sandbox.file("old.tar", builder.into_inner().expect("files that can be archived"));
    read(&sandbox, &["old.tar"]).exits_with(0);
    assert_eq!(allocations(&sandbox), ["a"]);
    // The name of the first file in the archive starts like JSON.
    sandbox.file("bracket.tar", &fs::read(sandbox.path("old.tar")).expect("a file")[512..]);
    read(&sandbox, &["bracket.tar"]).exits_with(0);
    assert_eq!(allocations(&sandbox), ["a"]);
}

#[test]
fn sparse_files_and_links_in_a_tar_are_reported() {
    let sandbox = Sandbox::new();
    let text = allocation("a", "n", "j");
    let mut builder = tar::Builder::new(vec![]);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(0);
    header.as_gnu_mut().expect("a GNU header").set_real_size(0);
    builder.append_data(&mut header, "old.json", &b""[..]).expect("an entry");
    let pax = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.name", b"d/pax.json"), ("GNU.sparse.realsize", b"9")];
    builder.append_pax_extensions(pax).expect("an entry");
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    builder.append_data(&mut header, "d/GNUSparseFile.1/pax.json", &b"1\n"[..]).expect("an entry");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "link.json", "a.json").expect("an entry");
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    builder.append_data(&mut header, "a.json", text.as_bytes()).expect("an entry");
    sandbox.file("a.tar", builder.into_inner().expect("files that can be archived"));
    read(&sandbox, &["a.tar", "-v"])
        .exits_with(0)
        .stderr_has("skipped: a.tar:old.json: is a sparse file")
        .stderr_has("skipped: a.tar:d/pax.json: is a sparse file")
        .stderr_has("skipped: a.tar:link.json: is a link");
    assert_eq!(allocations(&sandbox), ["a"]);
}

#[test]
fn a_listing_truncated_at_a_line_by_its_tar_is_not_full() {
    let sandbox = Sandbox::new();
    let lines = ["a", "b"].map(|id| allocation(id, "n", "j") + "\n");
    let listing = lines.concat();
    let bytes = tar(&[("interval/0000/allocations.json", listing.as_bytes())]);
    let begin = memchr::memmem::find(&bytes, listing.as_bytes()).expect("it is there");
    sandbox.file("cut.tar", &bytes[..begin + lines[0].len()]);
    read(&sandbox, &["cut.tar", "--full-listing"]).exits_with(3).stderr_has("the archive ends within this file");
    assert_eq!((covered(&sandbox), allocations(&sandbox)), (vec![None], vec!["a".to_owned()]));
    // A complete listing is a full listing, even if the archive is truncated after it.
    sandbox.file("cut.tar", &bytes[..begin + listing.len()]);
    read(&sandbox, &["cut.tar", "--full-listing"]).exits_with(3);
    assert_eq!(covered(&sandbox), [Some("*".to_owned())]);
}

#[test]
fn a_tar_truncated_between_two_files_warns() {
    let sandbox = Sandbox::new();
    let listing = allocation("a", "prod", "j") + "\n";
    let files =
        [("b/interval/0000/allocations.json", listing.as_bytes()), ("b/cluster/cli-flags.json", PROD.as_bytes())];
    let bytes = tar(&files);
    let flags = memchr::memmem::find(&bytes, b"b/cluster/cli-flags.json").expect("it is there");
    sandbox.file("cut.tar", &bytes[..flags]);
    read(&sandbox, &["cut.tar"]).exits_with(3).stderr_has("cut.tar: is a tar without an end marker");
    // The missing part may contain the flags of the bundle.
    assert_eq!((covered(&sandbox), allocations(&sandbox)), (vec![None], vec!["a".to_owned()]));
    sandbox.file("whole.tar", &bytes);
    read(&sandbox, &["whole.tar"]).exits_with(0);
    assert_eq!(covered(&sandbox), [Some("prod".to_owned())]);
}

#[test]
fn bundles_with_equal_names_are_independent() {
    let sandbox = Sandbox::new();
    let bundle = |id: &str, flags: &str| {
        let listing = allocation(id, "prod", "j") + "\n";
        tar(&[("b/interval/0000/allocations.json", listing.as_bytes()), ("b/cluster/cli-flags.json", flags.as_bytes())])
    };
    sandbox.file("two.tar", tar(&[("b.tar", &bundle("a", r#"{"Actual":{}}"#)), ("b.tar", &bundle("b", PROD))]));
    read(&sandbox, &["two.tar"]).exits_with(0).stderr_has("the namespace it lists is unknown");
    assert_eq!(covered(&sandbox), [None, None]);
}
