//! `alloclog query` as a user sees it.

use std::fs;

use crate::sandbox::{Sandbox, allocation, sample};

#[test]
fn a_name_prints_a_table_in_every_format() {
    let sandbox = Sandbox::new();
    let cluster = sample("cluster");
    for name in ["restarts", "task_events", "coverage"] {
        for (format, other) in [("csv", "csv"), ("ndjson", "ndjson"), ("parquet", "parquet"), ("arrow", "arrow")] {
            let file = format!("{name}.{format}");
            sandbox.run(&["query", name, &cluster, "--format", format, "-o", &file, "-q"]).exits_with(0);
            let flags = ["-o", "out", "--format", other, "--table", name, "--force", "-q"];
            sandbox.export(&[&[cluster.as_str()], &flags[..]].concat()).exits_with(0);
            let (asked, exported) = (fs::read(sandbox.path(&file)), fs::read(sandbox.path("out").join(&file)));
            // The files are compared byte by byte. In Parquet and Arrow, the bytes include the types of the columns.
            assert!(asked.expect("a file") == exported.expect("a file"), "{file}");
        }
    }
}

#[test]
fn the_default_is_a_text_table_and_json_is_an_array() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let sql = "SELECT alloc_id, events, CAST(events AS DOUBLE) / 3 AS third, task FROM coverage";
    let table = sandbox.run(&["query", sql, "a.json", "-q"]).exits_with(0).out;
    assert_eq!(table, "alloc_id  events     third  task\na              1  0.333333  t\n");
    let markdown = sandbox.run(&["query", sql, "a.json", "-q", "--format", "markdown"]).exits_with(0).out;
    assert!(
        markdown.starts_with("| alloc\\_id | events | third | task |\n| --- | ---: | ---: | --- |\n"),
        "{markdown}"
    );
    let json = sandbox.run(&["query", sql, "a.json", "-q", "--format", "json"]).exits_with(0).out;
    let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(rows, serde_json::json!([{"alloc_id": "a", "events": 1, "third": 1.0 / 3.0, "task": "t"}]));
    let none = "SELECT task FROM coverage WHERE events > 5";
    assert_eq!(sandbox.run(&["query", none, "a.json", "-q", "--format", "json"]).exits_with(0).out, "[]\n");
    assert_eq!(sandbox.run(&["query", none, "a.json", "-q", "--format", "csv"]).exits_with(0).out, "task\n");
}

#[test]
fn a_file_of_sql_is_run() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    sandbox.file("mine.sql", "-- how many?\nWITH e AS (SELECT * FROM task_events)\nSELECT COUNT(*) AS n FROM e;\n");
    assert_eq!(sandbox.run(&["query", "mine.sql", "a.json", "-q", "--format", "csv"]).exits_with(0).out, "n\n1\n");
    sandbox.file("wrong.sql", "SELECT 1; SELECT 2");
    sandbox.run(&["query", "wrong.sql", "a.json"]).exits_with(2).stderr_has("wrong.sql: a query is one SELECT");
    sandbox.run(&["query", "none.sql", "a.json"]).exits_with(1).stderr_has("cannot read none.sql");
}

#[test]
fn a_mistake_gets_the_columns_and_a_suggestion() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let ask = |query: &str| sandbox.run(&["query", query, "a.json", "-q"]);
    ask("SELECT lost_restart FROM restarts")
        .exits_with(2)
        .stderr_has("did you mean lost_restarts?")
        .stderr_has("columns of restarts: region, ");
    ask("SELECT * FROM restart").exits_with(2).stderr_has("did you mean restarts?");
    ask("restart").exits_with(2).stderr_has("did you mean restarts?").stderr_has("tables and views: task_events, ");
    ask("a.json").exits_with(2).stderr_has("the query comes before the SOURCE");
    ask("SELECT * FORM restarts").exits_with(2).stderr_has("not SQL");
    ask("SELECT event_at - event_at AS d FROM task_events").exits_with(2).stderr_has("x_at_ns");
    sandbox.run(&["query"]).exits_with(2);
}

#[test]
fn unsupported_queries_are_refused_and_a_query_that_runs_is_suggested() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let ask = |query: &str| sandbox.run(&["query", query, "a.json", "-q", "--format", "csv"]);
    for query in [
        "SELECT SUM(event_at_ns) + SUM(event_at_ns) + SUM(event_at_ns) + SUM(event_at_ns) + SUM(event_at_ns) + \
         SUM(event_at_ns) AS n FROM task_events",
        "SELECT event_at_ns * 1000 AS n FROM task_events",
        "SELECT attempt % 0 AS n FROM task_events",
        "SELECT CAST(job_id AS BIGINT) AS n FROM task_events",
        "SELECT event_at - event_at AS n FROM task_events",
        "SELECT CAST(event_at AS VARCHAR) AS n FROM task_events",
        "SELECT LIST(task) AS n FROM task_events",
        "SELECT job_id, task FROM task_events GROUP BY job_id",
        "SELECT no_such_column FROM task_events",
        "SELECT job_idx, COUNT(*) AS n FROM task_events WHERE exit_coda > 1 GROUP BY job_idx HAVING SUM(attemt) > 1",
        "SELECT alloc_idx FROM task_events WHERE event_at - event_at > INTERVAL '1 month'",
        "SELECT COALESCE(NULL, INTERVAL '1 month') AS n FROM task_events",
        "SELECT event_at + INTERVAL '1 day' * event_at_ns AS n FROM task_events",
        "SELECT ROUND(9223372036854775807, -1) AS n FROM task_events",
        "SELECT DATE_DIFF('week', event_at, event_at) AS n FROM task_events",
        "SELECT NO_SUCH_FUNCTION(task) AS n FROM task_events",
        "SELECT task ~ 't' AS n FROM task_events",
        "SELECT task FROM task_events AS a JOIN coverage AS b ON a.alloc_id = b.alloc_id",
        "SELECT (SELECT task FROM coverage UNION ALL SELECT task FROM coverage) AS n FROM task_events",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
        "DROP TABLE task_events",
        "SELECT * FROM no_such_table",
    ] {
        let refused = ask(query).exits_with(2);
        assert!(!refused.err.contains("polars"), "{}", refused.err);
        let advised = refused.err.lines().find_map(|line| line.split_once("a query that runs: "));
        let (_, advised) = advised.unwrap_or_else(|| panic!("{query}\n{}", refused.err));
        ask(advised).exits_with(0);
    }
}

#[test]
fn a_common_table_expression_may_be_named_like_a_table() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let ask = |query: &str| sandbox.run(&["query", query, "a.json", "-q", "--format", "csv"]).exits_with(0).out;
    assert_eq!(ask("WITH coverage AS (SELECT 1 AS one) SELECT * FROM coverage"), "one\n1\n");
    let own = "WITH coverage AS (SELECT task FROM coverage) SELECT * FROM coverage";
    assert_eq!(ask(own), "task\nt\n");
}

#[test]
fn a_join_condition_on_one_side_resolves_there() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let ask = |query: &str| sandbox.run(&["query", query, "a.json", "-q", "--format", "csv"]).exits_with(0).out;
    let on = "SELECT a.task, b.task AS other FROM coverage a LEFT JOIN coverage b ON a.task = b.task AND b.events = 2";
    assert_eq!(ask(on), "task,other\nt,\n");
    assert_eq!(ask("SELECT -7 % 3 AS m FROM coverage"), "m\n-1\n");
}

#[test]
fn a_query_reads_registered_tables_only() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    sandbox.run(&["query", "coverage", "a.json", "-q", "--format", "parquet", "-o", "secret.parquet"]).exits_with(0);
    let fifo = std::process::Command::new("mkfifo").arg(sandbox.path("fifo")).status().expect("mkfifo starts");
    assert!(fifo.success());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let url = format!("http://{}/x.parquet", listener.local_addr().expect("an address"));
    let file = sandbox.path("secret.parquet");
    // The engine once treated the name of a common table expression as a function. It then opened the file or requested
    // the URL.
    for place in [file.to_str().expect("a path"), "secret.parquet", "fifo", &url] {
        for name in ["read_parquet", "read_csv", "read_ipc", "read_json", "scan_parquet"] {
            let sql = format!("WITH {name} AS (SELECT 1 AS a) SELECT * FROM {name}('{place}')");
            sandbox
                .run(&["query", &sql, "a.json", "-q"])
                .exits_with(2)
                .stderr_has("only tables, views and subqueries can be read");
        }
        let sql = format!("SELECT * FROM '{place}'");
        sandbox.run(&["query", &sql, "a.json", "-q"]).exits_with(2).stderr_has("there is no table");
    }
    assert!(listener.accept().is_err(), "the program connected to the address");
}

#[test]
fn the_list_names_and_explains_every_view() {
    let list = Sandbox::new().run(&["query", "--list"]).exits_with(0).out;
    for view in alloclog::query::VIEWS {
        let head = view.head().expect("a head");
        assert!(
            list.contains(&format!("\n{}: {}\n", view.name, head.question)) || list.starts_with(view.name),
            "{list}"
        );
        assert!(head.definition.iter().all(|line| list.contains(line)), "{}", view.name);
    }
}

#[test]
fn a_condition_reads_the_columns_of_the_result() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let ask = |condition: &str| sandbox.run(&["query", "coverage", "a.json", "-q", "--fail-if", condition]);
    ask("events > 0").exits_with(4).stderr_has("holds for 1 row").stderr_has("job_id j").stderr_has("events 1");
    ask("events > 1").exits_with(0);
    ask("event > 1").exits_with(2).stderr_has("did you mean events?");
    ask("coverage.events > 1").exits_with(2).stderr_has("write columns without coverage.");
    ask("events > 1 or node_class = 'x'").exits_with(0).stderr_has("is unknown for 1 row");
    let own = sandbox.run(&["query", "SELECT COUNT(*) AS n FROM coverage", "a.json", "-q", "--fail-if", "n = 1"]);
    own.exits_with(4).stderr_has("n 1");
}

#[test]
fn a_condition_cannot_aggregate() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let ask = |condition: &str| sandbox.run(&["query", "coverage", "a.json", "-q", "--fail-if", condition]);
    ask("SUM(events) > 100").exits_with(2).stderr_has("is evaluated on one row");
    ask("events > AVG(events)").exits_with(2).stderr_has("is evaluated on one row");
    ask("events > (SELECT 1)").exits_with(2).stderr_has("cannot contain SELECT");
    ask("events IS NOT NULL AND events >= 1e0").exits_with(4);
    sandbox
        .run(&["report", "a.json", "-q", "--fail-if", "MAX(coverage.events) > 0"])
        .exits_with(2)
        .stderr_has("is evaluated on one row");
}

#[test]
fn a_gate_on_an_empty_selection_fails_and_writes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let gate = |flags: &[&str]| {
        let query = ["query", "coverage", "a.json", "--format", "csv", "-o", "out.csv", "--fail-if", "events > 100"];
        sandbox.run(&[&query[..], flags].concat())
    };
    for (flags, why) in [
        (&["--job", "k"][..], "no allocation of any time matches --job k"),
        (&["--namespace", "m"], "matches --namespace m"),
        (&["--prefix", "b"], "matches --prefix b"),
        (&["--since", "2027-01-01"], "no observation is in the period"),
        (&["--until", "2020-01-01"], "no observation is in the period"),
        (&["--since", "1h", "--until", "2h"], "--since is not before --until"),
    ] {
        gate(flags).exits_with(1).stderr_has(why).stderr_has("nothing was written");
        assert_eq!(sandbox.names(), ["a.json"], "{flags:?}");
        let report = ["report", "a.json", "--fail-if", "restarts.restarts > 100"];
        sandbox.run(&[&report[..], flags].concat()).exits_with(1).stderr_has(why);
        sandbox.run(&[&["report", "a.json"], flags].concat()).exits_with(0).stderr_has("warning: ").stderr_has(why);
        let quiet = sandbox.run(&[&["report", "a.json", "--allow-empty"], flags].concat()).exits_with(0);
        assert!(!quiet.err.contains(why), "{}", quiet.err);
        gate(&[flags, &["--allow-empty"]].concat()).exits_with(0);
        std::fs::remove_file(sandbox.path("out.csv")).expect("a file");
    }
    // Lists of nodes and empty lists have no date and show no allocations.
    sandbox
        .file("nodes.json", r#"[{"ID":"n","Name":"client","Datacenter":"dc1","NodeClass":"big"}]"#)
        .file("none.json", "[]");
    for beside in ["nodes.json", "none.json"] {
        gate(&[beside, "--since", "2027-01-01"]).exits_with(1).stderr_has("no observation is in the period");
        gate(&[beside]).exits_with(0);
        std::fs::remove_file(sandbox.path("out.csv")).expect("a file");
    }
    // If the period has observations, a statistic without rows is a result, and so is a job without restarts.
    gate(&["--since", "1h", "--job", "j"]).exits_with(0);
    let none = ["query", "failures", "a.json", "-q", "--fail-if", "attempt > 0", "--since", "1h"];
    sandbox.run(&none).exits_with(0);
}

#[test]
fn a_gate_on_a_lake_searches_allocations_of_any_time() {
    let sandbox = Sandbox::new();
    sandbox.file("old/20261101T000000Z.json", format!("[{}]", allocation("a", "n", "old")));
    sandbox.file("new/20261125T000000Z.json", format!("[{}]", allocation("b", "n", "new")).replace("17954", "17955"));
    sandbox.run(&["ingest", "--lake", "lake", "old", "new", "-q"]).exits_with(0);
    let gate = |job: &str| sandbox.run(&["query", "coverage", "lake", "--job", job, "--fail-if", "events > 100"]);
    gate("new").exits_with(0);
    gate("old").exits_with(0);
    gate("none").exits_with(1).stderr_has("no allocation of any time matches --job none");
    let region = ["query", "coverage", "lake", "--region", "none", "--fail-if", "events > 100"];
    sandbox.run(&region).exits_with(1).stderr_has("matches --region none");
}

#[test]
fn a_result_replaces_a_file_only_when_complete() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j")).file("out.csv", "before");
    sandbox.run(&["query", "SELECT nothing FROM restarts", "a.json", "-o", "out.csv", "--format", "csv"]).exits_with(2);
    assert_eq!(fs::read_to_string(sandbox.path("out.csv")).expect("a file"), "before");
    sandbox.run(&["query", "SELECT events FROM coverage", "a.json", "-o", "out.csv", "--format", "csv"]).exits_with(0);
    assert_eq!(fs::read_to_string(sandbox.path("out.csv")).expect("a file"), "events\n1\n");
    sandbox
        .run(&["query", "coverage", "a.json", "-o", "none/out.csv"])
        .exits_with(1)
        .stderr_has("cannot write none/out.csv");
    assert_eq!(sandbox.names(), ["a.json", "out.csv"]);
}
