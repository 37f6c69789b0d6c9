//! A real agent. NOMAD_BIN names the nomad program, which runs on loopback with jobs of the test. Without NOMAD_BIN,
//! the test prints that it was skipped.

use std::collections::BTreeSet;
use std::env;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::sandbox::{Finished, Sandbox};
use crate::support::Row;

/// The namespace, the number of restarts and the script of each job.
const JOBS: [(&str, u32, &str); 3] = [("default", 1, "exit 3"), ("prod", 9, "exit 3"), ("prod", 1, "exit 0")];

/// A batch job with one task that first sleeps for a second.
fn job(name: &str, namespace: &str, restarts: u32, script: &str) -> String {
    format!(
        r#"
job "{name}" {{
  type      = "batch"
  namespace = "{namespace}"
  group "g" {{
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    restart {{
      mode     = "fail"
      interval = "5m"
      delay    = "300ms"
      attempts = {restarts}
    }}
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "sleep 1; {script}"]
      }}
      resources {{
        cpu    = 10
        memory = 20
      }}
    }}
  }}
}}
"#
    )
}

/// Configuration besides `-dev`. Cloud fingerprinting is off, since it is slow outside of a cloud.
fn configuration(http: u16, rpc: u16, serf: u16) -> String {
    format!(
        r#"
ports {{
  http = {http}
  rpc  = {rpc}
  serf = {serf}
}}
client {{
  options {{
    "fingerprint.denylist" = "env_aws,env_azure,env_digitalocean,env_gce,consul,vault"
  }}
}}
"#
    )
}

/// The agent, for as long as the test runs.
struct Nomad {
    program: PathBuf,
    agent: Child,
    address: String,
}

impl Drop for Nomad {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.agent.id().to_string()]).status();
        let _ = self.agent.wait();
    }
}

impl Nomad {
    /// Starts an agent and waits until it is ready; `None` without NOMAD_BIN.
    fn start(sandbox: &Sandbox) -> Option<Nomad> {
        let Some(program) = env::var_os("NOMAD_BIN").map(PathBuf::from) else {
            let word = "\nNOT RUN: a real agent: NOMAD_BIN names no nomad program\n";
            std::io::stderr().write_all(word.as_bytes()).expect("standard error that can be written");
            return None;
        };
        // Three free ports; the listeners are closed before the agent starts.
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [http, rpc, serf] = listeners.map(|listener| listener.local_addr().expect("an address").port());
        sandbox.file("agent.hcl", configuration(http, rpc, serf));
        let log = File::create(sandbox.path("agent.log")).expect("a file");
        let agent = Command::new(&program)
            .args(["agent", "-dev", "-bind", "127.0.0.1", "-config", "agent.hcl"])
            .current_dir(sandbox.path("."))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("NOMAD_BIN starts");
        let nomad = Nomad { program, agent, address: format!("http://127.0.0.1:{http}") };
        nomad.until("a node that is ready", || nomad.asks(&["node", "status"]).contains("ready"));
        Some(nomad)
    }

    /// The output of a command of the agent's program.
    fn asks(&self, arguments: &[&str]) -> String {
        let (group, rest) = arguments.split_at(1);
        let mut command = Command::new(&self.program);
        command.args(group).args(rest).env("NOMAD_ADDR", &self.address).stdin(Stdio::null());
        let output = command.output().expect("the nomad command starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < Duration::from_secs(90), "no {what} in time; see agent.log");
            thread::sleep(Duration::from_millis(300));
        }
    }
}

fn keys(rows: &[Row]) -> BTreeSet<String> {
    rows.iter().map(|row| serde_json::to_string(row).expect("a row")).collect()
}

#[test]
fn a_real_agent_gives_the_same_rows_by_every_method() {
    let sandbox = Sandbox::new();
    let Some(nomad) = Nomad::start(&sandbox) else { return };
    let tables = ["--table", "task_events,snapshots,coverage"];
    let following = ["--watch", "--stream"].map(|way| {
        let run = [&["export", &nomad.address, "-o", &way[2..], way, "--min-interval", "200ms"], &tables[..]].concat();
        sandbox.nomad_command(&[], &run).stderr(Stdio::piped()).spawn().expect("the program starts")
    });
    thread::sleep(Duration::from_secs(2));
    nomad.asks(&["namespace", "apply", "prod"]);
    for (number, (namespace, restarts, script)) in JOBS.into_iter().enumerate() {
        sandbox.file("job.hcl", job(&format!("j{number}"), namespace, restarts, script));
        let said = nomad.asks(&["job", "run", "-detach", &sandbox.path("job.hcl").to_string_lossy()]);
        assert!(said.contains("successful"), "{said}");
    }
    nomad.until("end of the jobs", || {
        let said = nomad.asks(&["job", "status", "-namespace", "*"]);
        said.matches("dead").count() == JOBS.len()
    });
    thread::sleep(Duration::from_secs(2));
    for child in following {
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
        let ran = Finished::from_output(child.wait_with_output().expect("an end")).exits_with(0);
        assert!(!ran.err.contains("warning"), "{}", ran.err);
    }
    sandbox.nomad(&[], &[&["export", &nomad.address, "-o", "live"], &tables[..]].concat()).exits_with(0);
    sandbox.nomad(&[], &["fetch", &nomad.address, "-o", "kept.json.zst"]).exits_with(0);
    sandbox.nomad(&[], &[&["export", "kept.json.zst", "-o", "kept"], &tables[..]].concat()).exits_with(0);

    let events = |name: &str| keys(&sandbox.events(name));
    let (live, watched, streamed) = (events("live"), events("watch"), events("stream"));
    assert!(live.len() > 20, "{}", live.len());
    assert_eq!(events("kept"), live);
    assert!(watched.is_superset(&live) && streamed.is_superset(&watched));
    // Nine restarts have more events than Nomad keeps per task. A run that followed the cluster from the start has all
    // of them.
    let coverage = |name: &str| crate::support::Exported::read(&sandbox.path(name), "coverage");
    let lost =
        |name: &str| coverage(name).iter().map(|row| row["lost_restarts"].as_i64().expect("a count")).sum::<i64>();
    assert!(lost("live") > 0);
    assert_eq!(lost("stream"), 0);
    assert!(coverage("stream").iter().all(|row| row["complete"] == true));
    assert!(sandbox.ledger("stream").iter().any(|row| row["shape"] == "stream"));
}
