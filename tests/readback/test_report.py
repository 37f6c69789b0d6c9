"""`alloclog report --format json`, validated by its schema and compared with the tables of an export."""

import json
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text())


@pytest.fixture(scope="session")
def report(program, cluster):
    return json.loads(program.run("report", cluster, "--format", "json", "--top", "1000"))


def sections(report):
    return {name: value["rows"] for name, value in report.items() if isinstance(value, dict) and "rows" in value}


def test_a_report_is_valid_by_its_schema(program, cluster, report, tmp_path):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    (tmp_path / "empty.json").write_text("[]")
    by_node = program.run("report", cluster, "--format", "json", "--by", "node_name", "--since", "24h")
    for text in (json.dumps(report), by_node, program.run("report", tmp_path / "empty.json", "--format", "json")):
        validator.validate(json.loads(text))


def test_the_schema_names_every_field(report):
    assert set(report) == set(SCHEMA["properties"])
    assert set(report["input"]) == set(SCHEMA["properties"]["input"]["properties"])
    assert set(report["coverage"]["total"]) == set(SCHEMA["properties"]["coverage"]["properties"]["total"]["properties"])


def test_the_rows_are_those_of_the_exported_statistics(program, cluster, report, tmp_path):
    program.run("export", "-q", cluster, "-o", tmp_path / "out")
    for name, rows in sections(report).items():
        if name == "reschedules":
            continue
        table = pq.read_table(tmp_path / "out" / f"{name}.parquet")
        exported = [
            {column: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if hasattr(value, "strftime") else value for column, value in row.items()}
            for row in table.to_pylist()
        ]
        assert rows, name
        for row in rows:
            assert list(row) == table.column_names, name
            assert row in exported, name
        if name == "restarts":
            exported = [row for row in exported if row["restarts"] or row["restarts_seen"]]
        assert len(rows) == len(exported), name
