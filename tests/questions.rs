//! `alloclog query` as a user sees it.

use std::fs;

use crate::desk::{Desk, allocation, sample};

#[test]
fn a_name_prints_a_table_in_every_format() {
    let desk = Desk::new();
    let cluster = sample("cluster");
    for name in ["restarts", "task_events", "coverage"] {
        for (format, other) in [("csv", "csv"), ("ndjson", "ndjson"), ("parquet", "parquet"), ("arrow", "arrow")] {
            let file = format!("{name}.{format}");
            desk.run(&["query", name, &cluster, "--format", format, "-o", &file, "-q"]).ends(0);
            let flags = ["-o", "out", "--format", other, "--table", name, "--force", "-q"];
            desk.export(&[&[cluster.as_str()], &flags[..]].concat()).ends(0);
            let (asked, exported) = (fs::read(desk.path(&file)), fs::read(desk.path("out").join(&file)));
            // For Parquet and Arrow nothing else is checked than equal bytes, which include the types.
            assert!(asked.expect("a file") == exported.expect("a file"), "{file}");
        }
    }
}

#[test]
fn the_default_is_a_text_table_and_json_is_an_array() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let sql = "SELECT alloc_id, events, CAST(events AS DOUBLE) / 3 AS third, task FROM coverage";
    let table = desk.run(&["query", sql, "a.json", "-q"]).ends(0).out;
    assert_eq!(table, "alloc_id  events     third  task\na              1  0.333333  t\n");
    let markdown = desk.run(&["query", sql, "a.json", "-q", "--format", "markdown"]).ends(0).out;
    assert!(
        markdown.starts_with("| alloc\\_id | events | third | task |\n| --- | ---: | ---: | --- |\n"),
        "{markdown}"
    );
    let json = desk.run(&["query", sql, "a.json", "-q", "--format", "json"]).ends(0).out;
    let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(rows, serde_json::json!([{"alloc_id": "a", "events": 1, "third": 1.0 / 3.0, "task": "t"}]));
    let none = "SELECT task FROM coverage WHERE events > 5";
    assert_eq!(desk.run(&["query", none, "a.json", "-q", "--format", "json"]).ends(0).out, "[]\n");
    assert_eq!(desk.run(&["query", none, "a.json", "-q", "--format", "csv"]).ends(0).out, "task\n");
}

#[test]
fn a_file_of_sql_is_run() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    desk.file("mine.sql", "-- how many?\nWITH e AS (SELECT * FROM task_events)\nSELECT COUNT(*) AS n FROM e;\n");
    assert_eq!(desk.run(&["query", "mine.sql", "a.json", "-q", "--format", "csv"]).ends(0).out, "n\n1\n");
    desk.file("wrong.sql", "SELECT 1; SELECT 2");
    desk.run(&["query", "wrong.sql", "a.json"]).ends(2).says("wrong.sql: a query is one SELECT");
    desk.run(&["query", "none.sql", "a.json"]).ends(1).says("cannot read none.sql");
}

#[test]
fn a_mistake_gets_the_columns_and_a_suggestion() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let ask = |query: &str| desk.run(&["query", query, "a.json", "-q"]);
    ask("SELECT lost_restart FROM restarts")
        .ends(2)
        .says("did you mean lost_restarts?")
        .says("columns of restarts: region, ");
    ask("SELECT * FROM restart").ends(2).says("did you mean restarts?");
    ask("restart").ends(2).says("did you mean restarts?").says("tables and views: task_events, ");
    ask("a.json").ends(2).says("the query comes before the SOURCE");
    ask("SELECT * FORM restarts").ends(2).says("not SQL");
    ask("SELECT event_at - event_at AS d FROM task_events").ends(2).says("x_at_ns");
    desk.run(&["query"]).ends(2);
}

#[test]
fn unsupported_queries_are_refused_with_one_that_runs() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let ask = |query: &str| desk.run(&["query", query, "a.json", "-q", "--format", "csv"]);
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
        "SELECT NO_SUCH_FUNCTION(task) AS n FROM task_events",
        "SELECT task ~ 't' AS n FROM task_events",
        "SELECT task FROM task_events AS a JOIN coverage AS b ON a.alloc_id = b.alloc_id",
        "SELECT (SELECT task FROM coverage UNION ALL SELECT task FROM coverage) AS n FROM task_events",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
        "DROP TABLE task_events",
        "SELECT * FROM no_such_table",
    ] {
        let refused = ask(query).ends(2);
        assert!(!refused.err.contains("polars"), "{}", refused.err);
        let advised = refused.err.lines().find_map(|line| line.split_once("a query that runs: "));
        let (_, advised) = advised.unwrap_or_else(|| panic!("{query}\n{}", refused.err));
        ask(advised).ends(0);
    }
}

#[test]
fn a_common_table_expression_may_be_named_like_a_table() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let ask = |query: &str| desk.run(&["query", query, "a.json", "-q", "--format", "csv"]).ends(0).out;
    assert_eq!(ask("WITH coverage AS (SELECT 1 AS one) SELECT * FROM coverage"), "one\n1\n");
    let own = "WITH coverage AS (SELECT task FROM coverage) SELECT * FROM coverage";
    assert_eq!(ask(own), "task\nt\n");
}

#[test]
fn a_join_condition_on_one_side_resolves_there() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let ask = |query: &str| desk.run(&["query", query, "a.json", "-q", "--format", "csv"]).ends(0).out;
    let on = "SELECT a.task, b.task AS other FROM coverage a LEFT JOIN coverage b ON a.task = b.task AND b.events = 2";
    assert_eq!(ask(on), "task,other\nt,\n");
    assert_eq!(ask("SELECT -7 % 3 AS m FROM coverage"), "m\n-1\n");
}

#[test]
fn a_query_reads_registered_tables_only() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    desk.run(&["query", "coverage", "a.json", "-q", "--format", "parquet", "-o", "secret.parquet"]).ends(0);
    let fifo = std::process::Command::new("mkfifo").arg(desk.path("fifo")).status().expect("mkfifo starts");
    assert!(fifo.success());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let url = format!("http://{}/x.parquet", listener.local_addr().expect("an address"));
    let file = desk.path("secret.parquet");
    // The engine took the name of a common table expression for a function, opened the file and requested the URL.
    for place in [file.to_str().expect("a path"), "secret.parquet", "fifo", &url] {
        for name in ["read_parquet", "read_csv", "read_ipc", "read_json", "scan_parquet"] {
            let sql = format!("WITH {name} AS (SELECT 1 AS a) SELECT * FROM {name}('{place}')");
            desk.run(&["query", &sql, "a.json", "-q"]).ends(2).says("only tables, views and subqueries can be read");
        }
        let sql = format!("SELECT * FROM '{place}'");
        desk.run(&["query", &sql, "a.json", "-q"]).ends(2).says("there is no table");
    }
    assert!(listener.accept().is_err(), "the address was asked");
}

#[test]
fn the_list_names_and_explains_every_view() {
    let list = Desk::new().run(&["query", "--list"]).ends(0).out;
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
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let ask = |condition: &str| desk.run(&["query", "coverage", "a.json", "-q", "--fail-if", condition]);
    ask("events > 0").ends(4).says("holds for 1 row").says("job_id j").says("events 1");
    ask("events > 1").ends(0);
    ask("event > 1").ends(2).says("did you mean events?");
    ask("coverage.events > 1").ends(2).says("write columns without coverage.");
    ask("events > 1 or node_class = 'x'").ends(0).says("is unknown for 1 row");
    let own = desk.run(&["query", "SELECT COUNT(*) AS n FROM coverage", "a.json", "-q", "--fail-if", "n = 1"]);
    own.ends(4).says("n 1");
}

#[test]
fn a_condition_cannot_aggregate() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let ask = |condition: &str| desk.run(&["query", "coverage", "a.json", "-q", "--fail-if", condition]);
    ask("SUM(events) > 100").ends(2).says("is evaluated on one row");
    ask("events > AVG(events)").ends(2).says("is evaluated on one row");
    ask("events > (SELECT 1)").ends(2).says("cannot contain SELECT");
    ask("events IS NOT NULL AND events >= 1e0").ends(4);
    desk.run(&["report", "a.json", "-q", "--fail-if", "MAX(coverage.events) > 0"])
        .ends(2)
        .says("is evaluated on one row");
}

#[test]
fn a_gate_on_an_empty_selection_fails_and_writes_nothing() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let gate = |flags: &[&str]| {
        let query = ["query", "coverage", "a.json", "--format", "csv", "-o", "out.csv", "--fail-if", "events > 100"];
        desk.run(&[&query[..], flags].concat())
    };
    for (flags, why) in [
        (&["--job", "k"][..], "no allocation of any time matches --job k"),
        (&["--namespace", "m"], "matches --namespace m"),
        (&["--prefix", "b"], "matches --prefix b"),
        (&["--since", "2027-01-01"], "no observation is in the period"),
        (&["--until", "2020-01-01"], "no observation is in the period"),
        (&["--since", "1h", "--until", "2h"], "--since is not before --until"),
    ] {
        gate(flags).ends(1).says(why).says("nothing was written");
        assert_eq!(desk.names(), ["a.json"], "{flags:?}");
        let report = ["report", "a.json", "--fail-if", "restarts.restarts > 100"];
        desk.run(&[&report[..], flags].concat()).ends(1).says(why);
        desk.run(&[&["report", "a.json"], flags].concat()).ends(0).says("warning: ").says(why);
        let quiet = desk.run(&[&["report", "a.json", "--allow-empty"], flags].concat()).ends(0);
        assert!(!quiet.err.contains(why), "{}", quiet.err);
        gate(&[flags, &["--allow-empty"]].concat()).ends(0);
        std::fs::remove_file(desk.path("out.csv")).expect("a file");
    }
    // Lists of nodes and empty lists have no date, and show no allocations.
    desk.file("nodes.json", r#"[{"ID":"n","Name":"client","Datacenter":"dc1","NodeClass":"big"}]"#)
        .file("none.json", "[]");
    for beside in ["nodes.json", "none.json"] {
        gate(&[beside, "--since", "2027-01-01"]).ends(1).says("observed in the period");
        gate(&[beside]).ends(0);
        std::fs::remove_file(desk.path("out.csv")).expect("a file");
    }
    // A statistic without rows in an observed period is a result, and so is a job without restarts.
    gate(&["--since", "1h", "--job", "j"]).ends(0);
    let none = ["query", "failures", "a.json", "-q", "--fail-if", "attempt > 0", "--since", "1h"];
    desk.run(&none).ends(0);
}

#[test]
fn a_gate_on_a_lake_searches_allocations_of_any_time() {
    let desk = Desk::new();
    desk.file("old/20261101T000000Z.json", format!("[{}]", allocation("a", "n", "old")));
    desk.file("new/20261125T000000Z.json", format!("[{}]", allocation("b", "n", "new")).replace("17954", "17955"));
    desk.run(&["ingest", "--lake", "lake", "old", "new", "-q"]).ends(0);
    let gate = |job: &str| desk.run(&["query", "coverage", "lake", "--job", job, "--fail-if", "events > 100"]);
    gate("new").ends(0);
    gate("old").ends(0);
    gate("none").ends(1).says("no allocation of any time matches --job none");
    let region = ["query", "coverage", "lake", "--region", "none", "--fail-if", "events > 100"];
    desk.run(&region).ends(1).says("matches --region none");
}

#[test]
fn a_result_replaces_a_file_only_when_complete() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j")).file("out.csv", "before");
    desk.run(&["query", "SELECT nothing FROM restarts", "a.json", "-o", "out.csv", "--format", "csv"]).ends(2);
    assert_eq!(fs::read_to_string(desk.path("out.csv")).expect("a file"), "before");
    desk.run(&["query", "SELECT events FROM coverage", "a.json", "-o", "out.csv", "--format", "csv"]).ends(0);
    assert_eq!(fs::read_to_string(desk.path("out.csv")).expect("a file"), "events\n1\n");
    desk.run(&["query", "coverage", "a.json", "-o", "none/out.csv"]).ends(1).says("cannot write none/out.csv");
    assert_eq!(desk.names(), ["a.json", "out.csv"]);
}
