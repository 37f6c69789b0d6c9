"""HTML reports and timelines in headless Chromium, with axe-core and the validator of the W3C.

The tests are skipped if Chromium, npm or Java is missing; `scripts/setup browser` installs them. With
ALLOCLOG_PICTURES=DIR, they save screenshots of the pages in DIR.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import stored

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "samples" / "cluster"
MODULES = ROOT / ".venv" / "browser-1"
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and (MODULES / "node_modules" / "puppeteer-core").is_dir() and shutil.which("java")),
    reason="needs Chromium, Java, puppeteer-core, axe-core and vnu-jar: scripts/setup browser",
)

EVIL = "<script>window.executed=1</script><img src=x onerror='window.executed=1'>\"'`]]>--></title></style>\u202e\u2066&lt;"


def allocations(count, names):
    """Allocations with four tasks each. Every task fails and restarts."""
    at = 1795458551898620217
    for i in range(count):
        tasks = {}
        for j in range(4):
            events = [
                ("Received", "Task received by client"),
                ("Task Setup", names),
                ("Started", names),
                ("Terminated", f"Exit Code: {j + 1}, {names}"),
                ("Restarting", names),
                ("Started", names),
            ]
            tasks[f"t{j}{names}"] = {
                "State": "running",
                "Failed": False,
                "Restarts": 1 + (i % 7),
                "Events": [
                    {"Type": kind, "Time": at + (i * 1000 + n) * 10**9 // 3, "DisplayMessage": text, "Details": {}, "ExitCode": j + 1 if kind == "Terminated" else 0}
                    for n, (kind, text) in enumerate(events)
                ],
            }
        yield {
            "ID": f"{i:08x}-0000-0000-0000-000000000000", "Namespace": f"n{names}", "JobID": f"job{i % 40}{names}",
            "TaskGroup": f"g{names}", "NodeID": f"node{i % 12}", "NodeName": f"node{i % 12}{names}", "ClientStatus": "running",
            "ClientDescription": names, "DesiredStatus": "run", "JobType": "service", "CreateIndex": 1, "ModifyIndex": 2 + i,
            "CreateTime": at, "ModifyTime": at + 3600 * 10**9, "TaskStates": tasks,
        }


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pages")

    def write(name, *arguments):
        page = directory / name
        done = subprocess.run([stored.binary(), *arguments, "--format", "html", "-q", "-o", page], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return page

    for name, count, names in [("hostile", 2500, EVIL), ("thousand", 250, "")]:
        (directory / f"{name}.json").write_text(json.dumps(list(allocations(count, names))))
    (directory / "empty.json").write_text("[]")
    return {
        "sample": write("sample.html", "report", CLUSTER),
        "nodes": write("nodes.html", "report", CLUSTER, "--by", "node_name,job_version", "--since", "1h"),
        "hostile": write("hostile.html", "report", directory / "hostile.json"),
        "thousand": write("thousand.html", "report", directory / "thousand.json"),
        "empty": write("empty.html", "report", directory / "empty.json"),
        "timeline": write("timeline.html", "timeline", "77a4f90a", CLUSTER),
        "hostile-timeline": write("hostile-timeline.html", "timeline", "00000001", directory / "hostile.json"),
        "again": write("again.html", "report", CLUSTER),
    }


@pytest.fixture(scope="module")
def seen(pages):
    shown = [page for name, page in pages.items() if name not in ("again", "thousand")]
    pictures = os.environ.get("ALLOCLOG_PICTURES", "-")
    command = ["node", ROOT / "tests/browser/check.mjs", MODULES, CHROMIUM, pictures, *shown]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_page_sends_requests_or_runs_texts_of_the_cluster(seen):
    assert len(seen) == 6 * 4
    for page in seen:
        assert page["requests"] == [] and page["errors"] == [], page
        assert page["executed"] is None and page["handlers"] == 0 and page["images"] == 0, page
        assert page["scripts_in_page"] == 1 and page["title"].startswith(("alloclog report", "Allocation ")), page


def test_charts_and_tables_are_there_with_and_without_scripts(seen):
    for page in seen:
        charts = dict(page["charts"])
        if page["page"] in ("sample.html", "hostile.html", "nodes.html"):
            expected = {"coverage-chart", "restarts-chart", "failures-chart", "lanes-chart", "nodes-chart"}
            assert expected | {"curve-created_to_started", "curve-setup_to_started"} == set(charts), page["page"]
            assert all(parts > 0 for parts in charts.values()), charts
            assert page["tables"] > 10, page
            assert len(page["folded"]) == 3 and all(rows > 0 for rows in page["folded"]), (page["page"], page["folded"])
        if "timeline" in page["page"]:
            assert set(charts) == {"lanes-chart"} and page["tables"] >= 1
        assert page["wide"] <= 0, f"{page['page']} scrolls sideways at {page['width']}"


def test_tables_can_be_sorted_and_filtered_and_lanes_zoomed(seen):
    for page in seen:
        if page["scripts"] and page["page"] in ("sample.html", "hostile.html"):
            sort = page["sort"]
            assert sort["falling"] == sorted(sort["falling"], reverse=True) and sort["rising"] == sorted(sort["rising"])
            assert sort["sort"] == "ascending" and len(set(sort["rising"])) > 1
            filtered = page["filter"]
            assert 0 < filtered["left"] <= filtered["all"] == filtered["again"] and filtered["fit"], filtered
            zoom = page["zoom"]
            assert zoom["before"] == zoom["again"] != zoom["after"], zoom


def test_keys_alone_sort_zoom_and_open(seen):
    for page in seen:
        if page["scripts"] and page["page"] != "empty.html":
            keys = page["keyboard"]
            if "timeline" not in page["page"]:
                assert keys["sorted"] in ("ascending", "descending") and keys["outline"] != "none", (page["page"], keys)
            assert keys["zoomed"] and keys["opened"], (page["page"], keys)


def test_a_page_prints_all_tasks_on_white(seen):
    for page in seen:
        if page["scripts"]:
            printed = page["print"]
            assert printed["bytes"] > 5_000 and printed["opened"] == printed["tasks"] and printed["restored"], (page["page"], printed)
            assert printed["hidden"], page["page"]
            assert printed["background"] == "rgb(255, 255, 255)", (page["page"], page["theme"], printed)


def test_axe_finds_no_violation(seen):
    assert [(page["page"], page["width"], page["theme"], page["axe"]) for page in seen if page.get("axe")] == []


def test_the_pages_are_valid_html(pages):
    jar = MODULES / "node_modules" / "vnu-jar" / "build" / "dist" / "vnu.jar"
    done = subprocess.run(["java", "-Xss4m", "-jar", jar, "--format", "json", *pages.values()], capture_output=True, text=True)
    # The validator does not compute hashes. Chromium does, and would report a style sheet or script that it blocks.
    messages = [m for m in json.loads(done.stderr)["messages"] if "violates Content Security Policy" not in m["message"]]
    assert [(m.get("url", "")[-20:], m["message"], m.get("extract")) for m in messages][:5] == []


def test_pages_are_small_and_the_same_bytes_for_the_same_input(pages):
    assert pages["sample"].read_bytes() == pages["again"].read_bytes()
    assert pages["thousand"].stat().st_size < 300_000
    for page in pages.values():
        assert page.stat().st_size < 5_000_000
