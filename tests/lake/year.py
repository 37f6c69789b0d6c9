"""Ingests of a cluster at regular intervals: the cost of each, and the growth of the lake.

The program runs with the clock of the cluster, so that its cache expires as over a year. Before each maintenance run,
the files of the lake get times that match this clock.
"""

import datetime
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from snapshots import Cluster

FAKETIME = next(Path("/usr").glob("lib/*/faketime/libfaketime.so.1"), None)


@dataclass
class Cost:
    """The cost of one ingest: wall time, CPU time, bytes read, and the number of files in the lake after it."""

    seconds: float
    processor: float
    read: int
    files: int


def clock(now_ns):
    moment = datetime.datetime.fromtimestamp(now_ns // 10**9, datetime.UTC)
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"@{moment:%Y-%m-%d %H:%M:%S}", "TZ": "UTC"}


def timed(lake, document, environment):
    """Ingests a document; returns the wall time, the CPU time, and the bytes read from the disk or the page cache."""
    began, worked = time.monotonic(), processor()
    child = lake.start("ingest", "-q", document, "--lake", lake.lake, environment=environment)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    seconds = time.monotonic() - began
    counters = dict(line.split(": ") for line in Path(f"/proc/{child.pid}/io").read_text().splitlines())
    _, stderr = child.communicate()
    assert child.returncode == 0, stderr.decode()
    return seconds, processor() - worked, int(counters["rchar"])


def processor():
    """CPU seconds of ended child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Files:
    """When each file of a lake was written, by the clock of the simulated cluster."""

    def __init__(self, lake):
        self.lake, self.written = lake, {}

    def note(self, now_ns):
        there = self.lake.files()
        self.written = {name: self.written.get(name, now_ns) for name in there}
        return len(there)

    def set_back(self, now_ns):
        """Sets the time of each file so that its age by this machine's clock is its age by the clock of the cluster."""
        now = time.time()
        for name, written_ns in self.written.items():
            moment = now - (now_ns - written_ns) / 10**9
            os.utime(self.lake.lake / name, (moment, moment))


def live(lake, documents, alive, every, upkeep_every, restarts, ends, keep):
    """Ingests listings of a cluster, `every` seconds apart, with regular maintenance; returns the cost of each.

    Listings are written to `keep`, or to a temporary file if `keep` is None.
    """
    cluster = Cluster(seed=1, alive=alive, start=int(time.time()) - documents * every)
    directory = keep or lake.root / "listing"
    directory.mkdir(parents=True, exist_ok=True)
    files, costs = Files(lake), []
    for number in range(1, documents + 1):
        document = cluster.write(directory)
        cost = timed(lake, document, clock(cluster.now))
        costs.append(Cost(*cost, files.note(cluster.now)))
        if keep is None:
            document.unlink()
        if number % upkeep_every == 0:
            files.set_back(cluster.now)
            for command in (["compact"], ["vacuum"]):
                lake.run("lake", *command, "-q", lake.lake, environment=clock(cluster.now))
                files.note(cluster.now)
        cluster.pass_time(every, restarts, ends)
    return costs

