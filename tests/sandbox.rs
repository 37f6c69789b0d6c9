//! Runs the program as a user does, in a temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A temporary directory for one test, and the program run in it.
pub struct Sandbox {
    directory: TempDir,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        Sandbox { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Sandbox {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alloclog"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .env_remove("NOMAD_REGION")
            .env_remove("COLUMNS");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished::from_output(self.command(arguments).output().expect("the program starts"))
    }

    pub fn export(&self, arguments: &[&str]) -> Finished {
        self.run(&[&["export"], arguments].concat())
    }

    /// The files in a directory, with their bytes. The directory must have no subdirectories.
    pub fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.path(name)).expect("a directory");
        let file = |path: PathBuf| (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(path));
        entries.map(|e| file(e.expect("an entry").path())).map(|(name, bytes)| (name, bytes.expect("a file"))).collect()
    }

    /// The names of the files in the directory, including hidden files.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

pub struct Finished {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Finished {
    pub fn from_output(output: Output) -> Finished {
        Finished {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn exits_with(self, code: i32) -> Finished {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn stderr_has(self, word: &str) -> Finished {
        assert!(self.err.contains(word), "{word:?} is not in:\n{}", self.err);
        self
    }
}

pub fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name).to_string_lossy().into_owned()
}

/// A minimal allocation.
pub fn allocation(id: &str, namespace: &str, job: &str) -> String {
    format!(
        r#"{{"ID":"{id}","Namespace":"{namespace}","JobID":"{job}","TaskGroup":"g","NodeID":"n","ClientStatus":"running","CreateIndex":1,"ModifyIndex":2,"CreateTime":1795458551898620217,"ModifyTime":1795458551898620218,"TaskStates":{{"t":{{"State":"running","Failed":false,"Restarts":0,"Events":[{{"Type":"Received","Time":1795458551898620219,"DisplayMessage":"=cmd","Details":{{}}}}]}}}}}}"#
    )
}

/// Compares with the expected output in `tests/reports/`; `ALLOCLOG_UPDATE=1` overwrites it.
#[track_caller]
pub fn is_as_expected(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports").join(name);
    if std::env::var_os("ALLOCLOG_UPDATE").is_some() {
        fs::write(&path, text).expect("a file");
    }
    let expected = fs::read_to_string(&path).expect("the expected output");
    assert!(expected == text, "{name} differs; ALLOCLOG_UPDATE=1 overwrites it, and git shows the difference:\n{text}");
}
