//! `alloclog query` as its users meet it.

use std::fs;

use crate::desk::{Desk, allocation, sample};

#[test]
fn a_name_answers_with_all_of_a_table_in_every_format() {
    let desk = Desk::new();
    let cluster = sample("cluster");
    for name in ["restarts", "task_events", "coverage"] {
        for (format, other) in [("csv", "csv"), ("ndjson", "ndjson"), ("parquet", "parquet"), ("arrow", "arrow")] {
            let file = format!("{name}.{format}");
            desk.run(&["query", name, &cluster, "--format", format, "-o", &file, "-q"]).ends(0);
            let flags = ["-o", "out", "--format", other, "--table", name, "--force", "-q"];
            desk.export(&[&[cluster.as_str()], &flags[..]].concat()).ends(0);
            let (asked, exported) = (fs::read(desk.path(&file)), fs::read(desk.path("out").join(&file)));
            // Parquet and Arrow tell of nothing else, but of types: they must be the same, too.
            assert!(asked.expect("a file") == exported.expect("a file"), "{file}");
        }
    }
}

#[test]
fn tables_are_for_eyes_and_json_is_an_array() {
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
fn a_file_of_sql_is_asked() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    desk.file("mine.sql", "-- how many?\nWITH e AS (SELECT * FROM task_events)\nSELECT COUNT(*) AS n FROM e;\n");
    assert_eq!(desk.run(&["query", "mine.sql", "a.json", "-q", "--format", "csv"]).ends(0).out, "n\n1\n");
    desk.file("wrong.sql", "SELECT 1; SELECT 2");
    desk.run(&["query", "wrong.sql", "a.json"]).ends(2).says("wrong.sql: a query is one SELECT");
    desk.run(&["query", "none.sql", "a.json"]).ends(1).says("none.sql cannot be read");
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
    ask("a.json").ends(2).says("a query comes before the SOURCE");
    ask("SELECT * FORM restarts").ends(2).says("not SQL");
    ask("SELECT event_at - event_at AS d FROM task_events").ends(2).says("x_at_ns");
    desk.run(&["query"]).ends(2);
}

#[test]
fn what_the_engine_answers_wrongly_is_refused_or_warned_about() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let ask = |query: &str| desk.run(&["query", query, "a.json"]);
    ask("WITH coverage AS (SELECT 1 AS one) SELECT * FROM coverage").ends(2).says("give it another name");
    ask("SELECT * FROM restarts a JOIN failures b ON a.task = b.task AND b.gave_up").ends(2).says("compare columns");
    ask("SELECT -7 % 3 AS m FROM coverage").ends(0).says("warning: %");
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
    // The engine took the name of a common table expression for a function, opened the file and asked the address.
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
fn the_list_names_every_view_and_what_it_means() {
    let list = Desk::new().run(&["query", "--list"]).ends(0).out;
    for view in &alloclog::query::VIEWS {
        let head = view.head().expect("a head");
        assert!(
            list.contains(&format!("\n{}: {}\n", view.name, head.question)) || list.starts_with(view.name),
            "{list}"
        );
        assert!(head.definition.iter().all(|line| list.contains(line)), "{}", view.name);
    }
}

#[test]
fn a_condition_is_over_the_answers_columns() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
    let ask = |condition: &str| desk.run(&["query", "coverage", "a.json", "-q", "--fail-if", condition]);
    ask("events > 0").ends(4).says("holds for 1 row").says("job_id j").says("events 1");
    ask("events > 1").ends(0);
    ask("event > 1").ends(2).says("did you mean events?");
    ask("coverage.events > 1").ends(2).says("stand bare");
    ask("events > 1 or node_class = 'x'").ends(0).says("is not known for 1 row");
    let own = desk.run(&["query", "SELECT COUNT(*) AS n FROM coverage", "a.json", "-q", "--fail-if", "n = 1"]);
    own.ends(4).says("n 1");
}

#[test]
fn an_answer_replaces_a_file_only_when_it_is_whole() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j")).file("out.csv", "before");
    desk.run(&["query", "SELECT nothing FROM restarts", "a.json", "-o", "out.csv", "--format", "csv"]).ends(2);
    assert_eq!(fs::read_to_string(desk.path("out.csv")).expect("a file"), "before");
    desk.run(&["query", "SELECT events FROM coverage", "a.json", "-o", "out.csv", "--format", "csv"]).ends(0);
    assert_eq!(fs::read_to_string(desk.path("out.csv")).expect("a file"), "events\n1\n");
    desk.run(&["query", "coverage", "a.json", "-o", "none/out.csv"]).ends(1).says("none/out.csv cannot be written");
    assert_eq!(desk.names(), ["a.json", "out.csv"]);
}
