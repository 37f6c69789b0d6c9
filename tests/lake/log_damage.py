"""The parts of a lake, and damage to the logs of its tables. Each function that damages a lake returns the text that a
check must print."""

import json
import shutil

import deltalake
from stored import STORED

LOG = "task_events/_delta_log"


def counts(lake):
    """How many rows delta-rs reads from each table."""
    return {name: deltalake.DeltaTable(str(lake.lake / name)).to_pyarrow_table().num_rows for name in STORED}


def versions(lake, table="task_events"):
    return sorted((lake.lake / table / "_delta_log").glob("*.json"))


def data_files(lake, table="task_events"):
    return sorted((lake.lake / table).rglob("*.zstd.parquet"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def batches(lake):
    return sorted((lake.lake / "_alloclog/batches").rglob("*.json"))


def name_of(lake, path):
    return str(path.relative_to(lake.lake))


def edited(path, edit):
    """Rewrites a version of a log with `edit` applied to each action; None removes the line."""
    actions = [edit(action) for action in map(json.loads, path.read_text().splitlines())]
    path.write_text("".join(json.dumps(action) + "\n" for action in actions if action is not None))


def lost_version(which):
    def damage(lake):
        # Skip the empty versions that tests add.
        own = [path for path in versions(lake) if "NOTHING" not in path.read_text()]
        path = {"first": own[0], "middle": own[len(own) // 2], "last": own[-1]}[which]
        path.unlink()
        return LOG if which != "last" else "the log of task_events"

    return damage


def lost_last_versions(lake):
    for path in versions(lake)[-3:]:
        path.unlink()
    return "the log of task_events"


def lost_add_line(lake):
    edited(versions(lake)[-1], lambda action: None if "add" in action else action)
    return "does not list"


def lost_remove_lines(lake):
    merge = next(path for path in versions(lake) if '"remove"' in path.read_text())
    edited(merge, lambda action: None if "remove" in action else action)
    return "which a batch replaced"


def changed_statistics(lake):
    def edit(action):
        if "add" in action:
            stats = json.loads(action["add"]["stats"])
            action["add"]["stats"] = json.dumps(stats | {"numRecords": stats["numRecords"] + 1})
        return action

    edited(versions(lake)[-1], edit)
    return "contradict each other on"


def changed_transaction(lake):
    def edit(action):
        if "txn" in action:
            action["txn"]["version"] -= 1
        return action

    edited(versions(lake)[-1], edit)
    return "the log of task_events ends with batch"


def changed_path(lake):
    def edit(action):
        if "add" in action:
            action["add"]["path"] = action["add"]["path"].replace("part-", "pbrt-")
        return action

    edited(versions(lake)[-1], edit)
    return "which no batch added"


def changed_metadata(before, after):
    def damage(lake):
        text = versions(lake)[0].read_text()
        assert before in text
        versions(lake)[0].write_text(text.replace(before, after))
        return "the metadata in the log of task_events was changed"

    return damage


def half_a_line(lake):
    path = versions(lake)[-1]
    path.write_bytes(path.read_bytes()[:-20])
    return name_of(lake, path)


def lost_log(lake):
    shutil.rmtree(lake.lake / LOG)
    return "the log of task_events is missing"


def lost_ledger(lake):
    shutil.rmtree(lake.lake / "snapshots/_delta_log")
    return "the log of snapshots is missing"
