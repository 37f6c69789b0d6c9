//! HTML pages: their bytes, and the numbers in their charts. `tests/browser` tests them in a browser.

use alloclog::pipeline::{Pipeline, Sources};
use alloclog::query::{self, Row};
use alloclog::report::{self, html};
use alloclog::store::Store;

use crate::sandbox::{Sandbox, allocation, is_as_expected, sample};

#[test]
fn pages_of_the_samples_are_as_expected() {
    let sandbox = Sandbox::new();
    for (name, arguments) in [("report.html", ["report", ""]), ("timeline.html", ["timeline", "4260067f"])] {
        let arguments = arguments.iter().filter(|argument| !argument.is_empty()).copied();
        let cluster = sample("cluster");
        let flags: Vec<&str> = arguments.chain([cluster.as_str(), "-q", "--format", "html"]).collect();
        let page = sandbox.run(&flags).exits_with(0).out;
        is_as_expected(name, &page);
        assert!(page.len() < 300_000, "{name}: {} bytes", page.len());
    }
}

#[test]
fn texts_of_documents_are_escaped_in_pages() {
    let sandbox = Sandbox::new();
    let evil = "</script><img src=x onerror=a()>\\u202e\\u0007'\\\"&";
    let hostile = allocation("a", evil, evil).replace("\"t\":", &format!("\"{evil}\":")).replace("=cmd", evil);
    sandbox.file("a.json", hostile);
    for target in [&["report"][..], &["timeline", "a"]] {
        let page = sandbox.run(&[target, &["a.json", "-q", "--format", "html"]].concat()).exits_with(0).out;
        assert!(!page.contains("<img") && !page.contains(['\u{202e}', '\u{7}']), "{page}");
        assert_eq!(page.matches("</script>").count(), 1);
        assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=a()&gt;\\u{202e}\\u{7}'&quot;&amp;"), "{page}");
        assert!(page.contains("default-src 'none'"));
    }
}

#[test]
fn a_page_explains_its_terms_and_what_it_leaves_out() {
    let sandbox = Sandbox::new();
    let cluster = sample("cluster");
    let page = |flags: &[&str]| {
        sandbox.run(&[&["report", &cluster, "-q", "--format", "html"], flags].concat()).exits_with(0).out
    };
    let (plain, explained) = (page(&[]), page(&["--explain"]));
    for question in [
        "How often were tasks restarted, why",
        "How long do first starts take, when tasks that still wait are counted too?",
    ] {
        assert!(!plain.contains(question) && explained.contains(question), "{question}");
    }
    assert!(plain.contains("The 15 groups with most incomplete histories; "), "{plain}");
    assert!(plain.contains("The 25 tasks with most restarts and failures; 15 left out."));
}

#[test]
fn no_page_is_larger_than_five_megabytes() {
    let sandbox = Sandbox::new();
    let long = "&\"x".repeat(1_000).replace('"', "\\\"");
    let allocations: Vec<String> = (0..400)
        .map(|n| {
            allocation(&format!("{n}"), &long, &format!("job{n}{long}")).replace("\"t\":", &format!("\"t{n}{long}\":"))
        })
        .collect();
    sandbox.file("a.json", format!("[{}]", allocations.join(",")));
    let job = format!("job1{}", "&\"x".repeat(1_000));
    for target in [&["report", "--top", "100000"][..], &["timeline", &job]] {
        let page = sandbox.run(&[target, &["a.json", "-q", "--format", "html"]].concat()).exits_with(0).out;
        assert!(page.len() < 5_000_000, "{target:?}: {} bytes", page.len());
        assert!(page.ends_with("</html>\n") && page.contains(" characters more)"), "{target:?}");
    }
    let page = sandbox.run(&["report", "--top", "100000", "a.json", "-q", "--format", "html"]).exits_with(0).out;
    assert!(page.contains("This page would be larger than 5 MB: each table has at most "));
}

#[test]
fn charts_show_the_numbers_of_the_views() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::at(directory.path());
    let mut views = report::views();
    views.extend(html::views());
    let sources = Sources::parse([sample("cluster")]).expect("sources");
    let by = "region".parse().expect("columns");
    let tables = report::TABLES.into_iter().chain(report::timeline::TABLES).collect();
    Pipeline { sources, views, by, tables, ..Pipeline::default() }.run(&store, &()).expect("a run");
    let pictures = html::read(&store).expect("pictures");
    let select = |sql: &str| -> Vec<Row> { query::select(&store, sql).expect("rows") };

    for curve in &pictures.curves {
        let rows = select(&format!("SELECT * FROM start_latency WHERE measure = '{}'", curve.measure));
        let [row] = rows.as_slice() else { panic!("one group") };
        for (quantile, share) in
            [("p50_seconds", 0.5), ("p90_seconds", 0.9), ("p95_seconds", 0.95), ("p99_seconds", 0.99)]
        {
            let reached = curve.steps.iter().find(|step| step.started >= share - 1e-9).map(|step| step.seconds);
            let expected = row.number(quantile);
            let is_same = reached.zip(expected).map_or(reached == expected, |(a, b)| (a - b).abs() < 1e-6);
            assert!(is_same, "{} {quantile}: {reached:?} and {expected:?}", curve.measure);
        }
        assert!(!curve.censored.is_empty() && !curve.steps.is_empty());
    }

    let total = select("SELECT SUM(restarts) AS n FROM restarts");
    let histogram = pictures.restarts.expect("restarts");
    let drawn: i64 = histogram.causes.values().flat_map(|bins| bins.values()).sum();
    assert_eq!(Some(drawn), total[0].int("n"));
    for cause in ["failure", "oom", "health", "unknown"] {
        let expected = select(&format!("SELECT SUM(cause_{cause}) AS n FROM restarts"));
        let drawn: i64 = histogram.causes.get(cause).into_iter().flat_map(|bins| bins.values()).sum();
        assert_eq!(Some(drawn), expected[0].int("n"), "{cause}");
    }
    let failures = select("SELECT SUM(failures) AS n FROM failure_summary");
    assert_eq!(Some(pictures.failures.iter().map(|(_, n)| n).sum()), failures[0].int("n"));
    let of_nodes = |column: &str| pictures.nodes.iter().filter_map(|row| row.int(column)).sum::<i64>();
    assert_eq!(Some(of_nodes("restarts")), total[0].int("n"));
    assert_eq!(Some(of_nodes("failures")), failures[0].int("n"));
}
