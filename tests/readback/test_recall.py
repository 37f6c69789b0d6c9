"""benches/recall counts the events kept by snapshots."""

import os
import subprocess
import sys
from pathlib import Path

RECALL = Path(__file__).resolve().parents[2] / "benches" / "recall"


def test_fewer_snapshots_keep_fewer_events(program, cluster):
    # The truth here is the union of the six listings.
    environment = os.environ | {"ALLOCLOG_BIN": program.path}
    command = [sys.executable, RECALL, cluster, cluster, "1", "5"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert ran.returncode == 0, ran.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ran.stdout.splitlines() if line[:1] == "|"]
    names, _, all_of_them, first_and_last = rows
    all_of_them, first_and_last = dict(zip(names, all_of_them)), dict(zip(names, first_and_last))
    assert "352 events of 40 tasks" in ran.stdout
    told = ["snapshots", "events kept", "of all", "ends of runs kept", "tasks complete", "restarts", "of which lost"]
    assert [all_of_them[name] for name in told] == ["6", "352", "100.0 %", "100.0 %", "80.0 %", "231", "171"]
    assert first_and_last["snapshots"] == "2" and first_and_last["apart"] == "731 s"
    assert 0 < int(first_and_last["events kept"]) < 352
    assert int(first_and_last["of which lost"]) > 0
