#!/usr/bin/env python3
"""Cuts samples/ from the recordings of a Nomad 2.0.5 cluster and a 0.6.3 agent and from the API page of Nomad 0.6.

    tests/recordings/cut.py RECORDING API_PAGE RECORDING_OF_0_6

RECORDING is a directory as described in its own README (snaps.tar.zst, stream.ndjson.zst, ...). Documents are cut, but
not edited: whole elements of an array, of a line-by-line listing or of a stream are left out, and the other elements
keep their bytes. `tests/recordings.rs` checks this if the recording is available. The script needs the program `zstd`.
The same recording gives the same bytes.
"""

import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

# The allocations that the listings of the samples keep. samples/README.md says what each shows.
ALLOCATIONS = """
    77a4f90a 1bc5f42c 7396ffa1 931cc65a bed72174 4260067f 1fb9fa98 60416395 6c08ba61 c266b936 b5d4a202 b404f8cc 60b2cd0c
    46388a90 2d0f02b9 a781966b 30a58334 2be43cab f3f5e367 eb6010bf 9e8d4b32 e9be89da 37cfea75 a0e8d2d0 1e7390ed d68cbb58
    80540674
""".split()
# The UTC times of the list snapshots with these allocations.
MOMENTS = ["182801", "182831", "183131", "183352", "183642", "184012"]
# Allocations in the stream sample, which has their complete histories, from the first event to the last.
STREAMED = "1fb9fa98 2d0f02b9 a781966b b404f8cc f3f5e367 4260067f".split()
# Allocations in the agents' logs.
LOGGED = "4260067f 7396ffa1 a781966b".split()
# Allocations in the raft snapshot.
IN_RAFT = "1bc5f42c b5d4a202 2d0f02b9".split()
# The captures that the bundle keeps, and the files that each capture keeps.
CAPTURES = ["0000", "0002", "0004"]
BUNDLED = "allocations.json nodes.json csi-plugins.json csi-volumes.json license.json operator-raft.json".split()

# The allocations and list snapshots of the agent of Nomad 0.6.
OLD_ALLOCATIONS = "04abac9b f6cee4a8 a98354b1 00e4b08e 222e668f 9658e36b 557ea7fa bcd68611 17c8e5b0".split()
OLD_MOMENTS = "192709 192812 192926 193038 193152".split()

recording, page, samples = Path(sys.argv[1]), Path(sys.argv[2]), Path(__file__).parent.parent.parent / "samples"


def unzstd(name):
    return subprocess.run(["zstd", "-dcq", recording / name], check=True, capture_output=True).stdout


def zstd(text):
    return subprocess.run(["zstd", "-19cq"], input=text, check=True, capture_output=True).stdout


def contents(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}


def write(name, content):
    path = samples / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"{len(content):8} {name}")


def elements(text, at):
    """The elements of the JSON array that begins at `at`, as (value, start, end), and where the array ends."""
    decoder, found, space = json.JSONDecoder(), [], re.compile(r"\s*")
    at = space.match(text, at + 1).end()
    while text[at] != "]":
        value, end = decoder.raw_decode(text, at)
        found.append((value, at, end))
        at = space.match(text, end).end()
        if text[at] == ",":
            at = space.match(text, at + 1).end()
    return found, at


def cut_array(text, keep, at=0):
    """The text with only the kept elements of the array at `at`, separated as its first two elements are."""
    found, close = elements(text, at)
    kept = [text[start:end] for value, start, end in found if keep(value)]
    if not found:
        return text
    between = text[found[0][2] : found[1][1]] if len(found) > 1 else ","
    return text[: found[0][1]] + between.join(kept) + text[found[-1][2] :]


def of(prefixes):
    return lambda allocation: allocation["ID"][:8] in prefixes


# List snapshots and the nodes.
snaps, read = contents(unzstd("snaps.tar.zst")), contents(unzstd("read.tar.zst"))
for moment in MOMENTS:
    text = snaps[f"snaps/20261123T{moment}Z.json"].decode()
    write(f"cluster/20261123T{moment}Z.json", cut_array(text, of(ALLOCATIONS)).encode())
write("cluster/nodes.json", read["read/end/nodes.json"])

# A full allocation from a read, and outputs of the command line.
for name in read:
    if re.match(r"read/end/allocation/1bc5f42c", name):
        write("allocation.json", read[name])
    if re.match(r"read/mid/cli/alloc-status-f3f5e367.*json", name):
        write("cli/alloc-status.json", read[name])
text = read["read/end/cli/job-allocs-prod-api.json"].decode()
write("cli/job-allocs.json", cut_array(text, of(ALLOCATIONS)).encode())
for name in read:
    if re.match(r"read/mid/cli/alloc-status-71a2363e", name):
        write("cli/not-found.json", read[name])

# The event stream: frames with events of the chosen allocations, and the heartbeats between them.
lines = []
for line in unzstd("stream.ndjson.zst").decode().splitlines(keepends=True):
    frame = json.loads(line)
    if not frame:
        lines.append(line)
        continue
    chosen = lambda e: e["Topic"] == "Allocation" and e["Key"][:8] in STREAMED
    if any(chosen(e) for e in frame["Events"]):
        at = line.index("[", line.index('"Events":'))
        lines.append(cut_array(line, lambda e: e["Topic"] != "Allocation" or chosen(e), at))
write("stream.ndjson.zst", zstd("".join(lines).encode()))

# A raft snapshot as `nomad operator snapshot state` prints it. Of its lists, only allocations and nodes are kept.
text = unzstd("snapshot-state.json.zst").decode()
text = cut_array(text, of(IN_RAFT), text.index("[", text.index('\n  "Allocs": ')))
for name in "Deployments Evals JobSummaries JobVersions Jobs RootKeys".split():
    text = cut_array(text, lambda _: False, text.index("[", text.index(f'\n  "{name}": ')))
write("snapshot-state.json.zst", zstd(text.encode()))

# The debug bundle, as Nomad wrote it, and in the layout of older versions: captures in nomad/NNNN, listings as arrays.
bundle = (recording / "debug.tar.gz").read_bytes()
new, old = io.BytesIO(), io.BytesIO()
with tarfile.open(fileobj=io.BytesIO(bundle)) as archive, tarfile.open(
    fileobj=new, mode="w", format=tarfile.USTAR_FORMAT
) as new_tar, tarfile.open(fileobj=old, mode="w", format=tarfile.USTAR_FORMAT) as old_tar:

    def add(tar, member, name, content):
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(content), int(member.mtime), 0o644
        tar.addfile(info, io.BytesIO(content))

    for member in archive:
        if not member.isfile():
            continue
        content = archive.extractfile(member).read()
        root, _, path = member.name.partition("/")
        parts = path.split("/")
        if path == "cluster/eventstream.json":
            events = [line for line in content.splitlines(keepends=True) if json.loads(line)["Key"][:8] == "f3f5e367"]
            content = b"".join(events)
        elif parts[0] == "client" or parts[0] == "server":
            content = b"".join(content.splitlines(keepends=True)[:20])
        elif parts[0] == "interval":
            if parts[1] not in CAPTURES or parts[2] not in BUNDLED:
                continue
            if parts[2] == "allocations.json":
                kept = of(ALLOCATIONS)
                content = b"".join(line for line in content.splitlines(keepends=True) if kept(json.loads(line)))
        elif path == "cluster/agent-self.json" or path == "index.html":
            continue
        add(new_tar, member, member.name, content)
        if parts[0] == "interval":
            if parts[2] == "allocations.json":
                content = b"[" + b",".join(content.splitlines()) + b"]"
            add(old_tar, member, f"{root}/nomad/{parts[1]}/{parts[2]}", content)
        elif path in ("cluster/members.json", "cluster/leader.json", "cluster/regions.json"):
            add(old_tar, member, member.name, content)
write("debug/nomad-debug-2026-11-23-183148Z.tar.gz", gzip.compress(new.getvalue(), 9, mtime=0))
write("debug/old-layout.tar.gz", gzip.compress(old.getvalue(), 9, mtime=0))

# The lines of task events in the logs of the agents. Some clients log as text, and some as JSON.
for name, content in contents(unzstd("logs.tar.zst")).items():
    lines = [line for line in content.splitlines(keepends=True) if b"Task event" in line and any(f"{id}-".encode() in line for id in LOGGED)]
    if lines:
        write(f"logs/{name.rsplit('/', 1)[-1]}", b"".join(lines))

# The two examples of the API page.
examples = re.findall(r"### Sample Response\n\n```json\n(.*?)```", page.read_text(), re.S)
write("nomad-0.6/allocations.json", examples[0].encode())
write("nomad-0.6/allocation.json", examples[1].encode())

# List snapshots of the agent of Nomad 0.6, and the truth about the same allocations: each new answer of a poll.
old = Path(sys.argv[3])
snaps = contents(subprocess.run(["zstd", "-dcq", old / "snaps.tar.zst"], check=True, capture_output=True).stdout)
for moment in OLD_MOMENTS:
    text = snaps[f"snaps/20261129T{moment}Z.json"].decode()
    write(f"nomad-0.6/agent/20261129T{moment}Z.json", cut_array(text, of(OLD_ALLOCATIONS)).encode())
lines, last = [], None
poll = subprocess.run(["zstd", "-dcq", "--long=27", old / "poll.ndjson.zst"], check=True, capture_output=True).stdout
for line in poll.decode().splitlines(keepends=True):
    if '"allocs":' in line:
        at = line.index("[", line.index('"allocs":'))
        found, end = elements(line, at)
        cut = cut_array(line[at:end + 1], of(OLD_ALLOCATIONS))
        if cut != last:
            lines.append(line[:at] + cut + line[end + 1:])
            last = cut
write("../tests/evidence/nomad-0.6-poll.ndjson.zst", zstd("".join(lines).encode()))
