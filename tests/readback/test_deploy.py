"""`deploy/`, the README and docs/ are correct: files parse, and command lines, metrics and messages exist."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import hcl2
import promql_parser
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(path for path in (DEPLOY / "systemd").iterdir() if path.suffix in (".service", ".timer"))
JOBS = sorted((DEPLOY / "nomad").glob("*.nomad.hcl"))
CRON = sorted((DEPLOY / "cron").iterdir())
RULES = DEPLOY / "prometheus" / "alloclog.rules.yml"
PROGRAM = "/usr/local/bin/alloclog"


def unquoted(value):
    return value[1:-1] if value.startswith('"') else value


def tasks(job):
    """The tasks of a job file, by name."""
    blocks = hcl2.loads(job.read_text())["job"]
    groups = [group for block in blocks for body in block.values() for group in body["group"]]
    named = [task for group in groups for body in group.values() for task in body["task"]]
    return {unquoted(name): body for task in named for name, body in task.items()}


def of_jobs():
    for job in JOBS:
        for task in tasks(job).values():
            arguments = [unquoted(argument) for argument in task["config"][0]["args"]]
            arguments = [argument.replace("${var.lake}", "s3://bucket/nomad") for argument in arguments]
            yield job.name, arguments


def of_units():
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.*)", unit.read_text(), re.M):
            path, *arguments = shlex.split(line)
            assert path == PROGRAM
            yield unit.name, arguments


def of_shell(text):
    """The alloclog commands in a line of shell."""
    lexer = shlex.shlex(text.split("  #")[0], posix=True, punctuation_chars=";|&")
    lexer.whitespace_split, lexer.commenters = True, ""
    # The lexer keeps an operator within quotes as part of a word.
    for is_operator, part in itertools.groupby(lexer, lambda word: not word.strip(";|&") and word != ""):
        words = [] if is_operator else list(part)
        while words and (re.match(r"\w+=", words[0]) or words[0] in ("nohup", "time")):
            words = words[1:]
        if "alloclog" in words[:1] or words[:1] == ["flock"]:
            arguments = words[words.index("alloclog") + 1 :]
            # Redirections are not arguments.
            yield arguments[: next((i for i, word in enumerate(arguments) if word[:1] in "<>"), None)]


def of_cron():
    for line in [line for tab in CRON for line in tab.read_text().splitlines()]:
        if line[:1] not in ("", "#") and not re.match(r"\w+=", line):
            *when, user, command = line.split(maxsplit=6)
            assert len(when) == 5 and user == "alloclog"
            assert "%" not in command  # cron replaces % by a line end
            yield from (("cron", arguments) for arguments in of_shell(command))


def of_documents():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *DEPLOY.rglob("*")]:
        if path.is_file():
            # Indented code in Markdown, and indented commands in comments.
            for line in re.findall(r"^(?:    |#   )(.*\balloclog .*)", path.read_text(), re.M):
                yield from ((path.name, arguments) for arguments in of_shell(line))


def accepts(program, arguments):
    ran = subprocess.run(program.command(*arguments, "--help"), capture_output=True, env=program.environment())
    return ran.returncode == 0


def test_every_command_line_is_accepted(program):
    assert not accepts(program, ["ingest", "--no-such-flag"])
    assert not accepts(program, ["lake", "vacuum", "--older-than", "7"])
    found = [*of_jobs(), *of_units(), *of_cron(), *of_documents()]
    somewhere = {"alloclog-stream.nomad.hcl", "alloclog-upkeep.service", "cron", "operations.md", "README.md", "live-clusters.md"}
    assert somewhere <= {where for where, _ in found}
    for where, arguments in found:
        assert accepts(program, arguments), f"{where}: alloclog {shlex.join(arguments)}"


def follows(command, environment):
    """Asserts that a command polls until it gets a signal, and then exits cleanly."""
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    stderr = run.stderr.readline()
    run.terminate()
    stderr += run.stderr.read()
    assert "no Nomad agent listens at http://127.0.0.1:1; NOMAD_ADDR or --address names another; retrying" in stderr
    assert run.wait(60) == 0


def test_the_units_and_cron_work_on_a_lake(program, cluster, tmp_path):
    lake, metrics = tmp_path / "lake", tmp_path / "alloclog.prom"
    program.run("ingest", "-q", cluster, "--lake", lake, "--cache", tmp_path / "cache")
    # No process listens on this port, so the error shows which agent the program would query.
    environment = program.environment() | {"ALLOCLOG_LAKE": str(lake), "NOMAD_ADDR": "http://127.0.0.1:1"}
    environment["ALLOCLOG_CACHE"] = str(tmp_path / "cache")
    here = {"/var/lib/alloclog/metrics/alloclog.prom": metrics, "/var/cache/alloclog": tmp_path / "cache"}
    for where, arguments in [*of_units(), *of_cron()]:
        arguments = [str(here.get(argument, argument)) for argument in arguments]
        if "--stream" in arguments:
            follows(program.command(*arguments), environment)
            continue
        ran = subprocess.run(program.command(*arguments), capture_output=True, text=True, env=environment, timeout=60)
        if arguments[0] == "ingest":
            assert ran.returncode == 1 and "no Nomad agent listens at http://127.0.0.1:1" in ran.stderr, ran.stderr
        else:
            assert ran.returncode == 0, f"{where}: {ran.stderr}"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_units(unit, program, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    # Verify all units together, because a timer needs its service. Use the tested program instead of an installed one.
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, os.path.abspath(program.path)))
    ran = subprocess.run(["systemd-analyze", "verify", tmp_path / unit.name], capture_output=True, text=True)
    complaints = [line for line in ran.stderr.splitlines() if "alloclog" in line]
    assert complaints == [] and ran.returncode == 0, ran.stderr


def test_each_timer_has_its_service_and_reads_the_same_environment():
    services = {unit.stem: unit.read_text() for unit in UNITS if unit.suffix == ".service"}
    always = {name for name, text in services.items() if "\nRestart=always\n" in text}
    assert always == {"alloclog-stream"}
    assert {unit.stem for unit in UNITS if unit.suffix == ".timer"} == services.keys() - always
    hardening = {text[text.index("# The service needs only the network") :] for text in services.values()}
    assert len(hardening) == 1
    for text in services.values():
        assert "EnvironmentFile=/etc/alloclog/alloclog.env\n" in text and "User=alloclog\n" in text
    names = re.findall(r"^#?([A-Z_]+)=", (DEPLOY / "systemd" / "alloclog.env").read_text(), re.M)
    assert {"ALLOCLOG_LAKE", "NOMAD_ADDR", "NOMAD_TOKEN", "AWS_ACCESS_KEY_ID"} <= set(names)


def test_the_ingest_job_requests_all_that_its_policy_permits():
    (task,) = tasks(DEPLOY / "nomad" / "alloclog-stream.nomad.hcl").values()
    arguments = [unquoted(argument) for argument in task["config"][0]["args"]]
    assert arguments[1] == "unix://${NOMAD_SECRETS_DIR}/api.sock"
    # The token file exists only if the task has an identity block. The flag --namespace is necessary, because Nomad
    # sets NOMAD_NAMESPACE to the namespace of the task.
    assert "${NOMAD_SECRETS_DIR}/nomad_token" in arguments and task["identity"][0]["file"] is True
    assert arguments[arguments.index("--namespace") + 1] == "*"
    policy = hcl2.loads((DEPLOY / "nomad" / "policy.hcl").read_text())
    assert policy["namespace"][0]['"*"']["capabilities"] == ['"read-job"']
    assert policy["node"][0]["policy"] == '"read"'


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_nomad_accepts_the_jobs(job):
    nomad = os.environ.get("NOMAD_BIN")
    if not nomad:
        pytest.skip("NOMAD_BIN names no Nomad")
    # If Nomad's command cannot reach an agent, it validates the file locally.
    environment = {"PATH": os.environ["PATH"], "NOMAD_ADDR": "http://127.0.0.1:1"}
    variables = ["-var", "lake=s3://bucket/nomad", "-var", "image=alloclog"]
    for arguments in (["fmt", "-check", job], ["job", "validate", *variables, job]):
        ran = subprocess.run([nomad, *arguments], capture_output=True, text=True, env=environment, timeout=60)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def metrics(program, cluster, directory):
    """The program's metrics, by name."""
    lake, file = directory / "lake", directory / "alloclog.prom"
    program.run("ingest", "-q", cluster, "--lake", lake, "--cache", directory / "cache", "--metrics", file)
    texts = file.read_text(), program.run("lake", "info", lake, "--format", "openmetrics").decode()
    return {family.name: family for text in texts for family in text_string_to_metric_families(text)}


def names(expression):
    """The metrics of a PromQL expression."""
    return set(re.findall(r"\balloclog_\w+", promql_parser.parse(expression).prettify()))


def test_the_alert_rules_use_existing_metrics(program, cluster, tmp_path):
    there = metrics(program, cluster, tmp_path)
    assert there["alloclog_lake_lost_restarts"].samples[0].value == 171
    assert there["alloclog_ingest_last_new_task_events"].samples[0].value == 352
    assert there["alloclog_ingest_last_lost_restarts"].samples[0].value == 171
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 0
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical") and rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0s"))
        assert names(rule["expr"]) and names(rule["expr"]) <= there.keys(), rule["expr"]


def test_the_image_uses_files_of_the_repository():
    text = (DEPLOY / "container" / "Containerfile").read_text()
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*)", text, re.M):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources)
        copied.update(sources)
    assert copied >= {"Cargo.toml", "Cargo.lock", "build.rs", "queries", "src"}
    rust = re.search(r'^rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert f"rust:{rust}-" in text
    assert re.findall(r"^USER (.*)", text, re.M) == ["65534:65534"]
    assert text.rstrip().endswith(f'ENTRYPOINT ["{PROGRAM}"]')


def test_the_documents_name_every_metric(program, cluster, tmp_path):
    text = (ROOT / "docs" / "operations.md").read_text()
    assert metrics(program, cluster, tmp_path).keys() == set(re.findall(r"`(alloclog_\w+)`", text))


def test_the_explained_messages_exist_in_the_program():
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = [row.split("|")[1] for row in text[text.index("## What went wrong") :].splitlines() if row.startswith("| `")]
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    # Join string literals that continue on the next line.
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    source = re.sub(r"\\\n\s*", "", source)
    assert len(messages) > 20
    for message in messages:
        assert message in source, message
