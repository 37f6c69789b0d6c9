"""Results on a terminal of a given size: `query` has short and vertical forms there, and no line is too wide."""

import fcntl
import json
import os
import pty
import re
import struct
import termios
import unicodedata

import pytest

IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")


def width(text):
    """The width of a text in columns, by the Unicode database."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in re.sub(r"\x1b\[[0-9;]*m", "", text)
    )


@pytest.fixture
def on_terminal(program):
    """Runs the program with its stdout on a terminal, and returns the lines that it prints."""

    def run(*arguments, columns=80, rows=50):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = program.start(*arguments, stdout=theirs)
        os.close(theirs)
        text = b""
        while True:
            try:
                new = os.read(ours, 65536)
            except OSError:  # the program has ended
                break
            if not new:
                break
            text += new
        assert process.wait(60) == 0, text
        os.close(ours)
        lines = text.decode().replace("\r\n", "\n").split("\n")
        assert lines.pop() == ""
        too_wide = [line for line in lines if width(line) > columns]
        assert not too_wide, (columns, too_wide)
        return lines

    return run


def rows_of(program, view, cluster):
    return json.loads(program.run("query", view, cluster, "-q", "--format", "json"))


def names(row):
    return "/".join("?" if row[c] is None else row[c] for c in ("namespace", "job_id", "task_group", "task"))


# For each view, the value that is largest in its worst row.
WORST = {
    "restarts": lambda row: row["restarts"] or 0,
    "crash_loops": lambda row: (not row["is_over"], row["restarts_last_hour"]),
    "failure_summary": lambda row: row["failures"],
    "coverage_summary": lambda row: row["lost_restarts"] or 0,
    "failures": lambda row: row["failed_at_ns"] or 0,
}


@pytest.mark.parametrize("view", WORST)
def test_a_view_begins_with_its_worst_row(on_terminal, program, cluster, view):
    lines = on_terminal("query", view, cluster, "-q", columns=240)
    rows = rows_of(program, view, cluster)
    worst = max(rows, key=WORST[view])
    assert lines[1].endswith("  " + names(worst)), lines[:2]
    # A title, a line for each row, and a note.
    assert len(lines) == len(rows) + 2 and lines[-1].startswith("short form; --all-columns"), lines[-1]


SHORT = [
    "allocations", "attempts", "coverage", "coverage_summary", "crash_loops", "failures", "failure_summary", "job_runs",
    "job_run_summary", "reschedules", "restarts", "start_latency", "start_phases", "starts", "task_states",
]  # fmt: skip


@pytest.mark.parametrize("view", SHORT)
def test_a_short_form_has_no_ns_columns_no_exponents_and_short_ids(on_terminal, cluster, view):
    text = "\n".join(on_terminal("query", view, cluster, "-q", columns=100))
    assert "_ns" not in text and not IDS.search(text), text
    assert not re.search(r"\s-?\d+(\.\d+)?e-\d+\s", text), text


def test_a_narrow_terminal_leaves_columns_out_and_names_them(on_terminal, cluster):
    narrow = on_terminal("query", "restarts", cluster, "-q", columns=60)
    assert any(line.startswith("left out for lack of space: ") for line in narrow), narrow
    wide = on_terminal("query", "restarts", cluster, "-q", columns=240)
    assert wide[0].startswith("restarts  lost_restarts  last_restart_at") and "cause_oom" in wide[0], wide[0]
    assert not any("left out" in line for line in wide)
    whole = on_terminal("query", "restarts", cluster, "-q", "--all-columns", columns=100)
    assert " ".join(whole).endswith("(--format csv has all)")


def test_few_rows_are_shown_vertically_if_they_are_too_wide(on_terminal, cluster):
    lines = on_terminal("query", "attempts", cluster, "-q", "--all-columns", "--job", "oom", "--prefix", "0")
    assert lines[0].startswith("region  ") and lines[1].startswith("left out"), "expected a title and a note"
    whole = on_terminal("query", "SELECT * FROM attempts LIMIT 2", cluster, "-q")
    assert whole[1].startswith("namespace      "), whole
    assert [line.split(" ")[0] for line in whole[:4]] == ["region", "namespace", "job_id", "task_group"], whole


def test_every_format_has_the_requested_columns(on_terminal, program, cluster):
    asked = ("query", "restarts", cluster, "-q", "--columns", "task,restarts,job_id")
    assert on_terminal(*asked)[0].split() == ["task", "restarts", "job_id"]
    csv = program.run(*asked, "--format", "csv").decode().splitlines()
    whole = rows_of(program, "restarts", cluster)
    assert csv[0] == "task,restarts,job_id" and len(csv) == len(whole) + 1
    wrong = program.start(*asked[:-1], "restart", "--format", "csv", stderr=-1)
    assert wrong.wait(60) == 2 and b"did you mean restarts?" in wrong.stderr.read()


def test_a_table_outside_of_a_terminal_has_all_columns(program, cluster):
    title = program.run("query", "restarts", cluster, "-q").decode().splitlines()[0].split()
    assert title == list(rows_of(program, "restarts", cluster)[0])


HOSTILE = {
    "escape": "a\x1b[2J\x1b]0;owned\x07b",
    "wide": "作业" * 40,
    "zero": "a\u200bb\u200d\ufeffc",
    "marks": "e\u0301" * 60,
    "turned": "\u202egnp.exe",
}


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_names_of_the_cluster_are_data(on_terminal, program, listing, tmp_path, columns):
    allocations = []
    for number, name in enumerate(HOSTILE.values()):
        allocation = dict(listing[0], ID=f"{number:08d}-0000-0000-0000-000000000000", JobID=name, NodeName=name)
        allocation["TaskGroup"] = name
        allocations.append(allocation)
    file = tmp_path / "hostile.json"
    file.write_text(json.dumps(allocations))
    others = (("query", "task_states"), ("query", "allocations", "--all-columns"))
    for arguments in (("report",), *(others if columns in (60, 120) else ())):
        lines = on_terminal(*arguments, file, "-q", columns=columns)
        text = "\n".join(lines)
        rest = re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert not [c for c in rest if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")], arguments
