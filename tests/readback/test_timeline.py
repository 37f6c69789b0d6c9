"""`alloclog timeline --format json`, validated by its schema."""

import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "timeline.schema.json").read_text())


@pytest.mark.parametrize("target", ["4260067f", "oom", "web", "plain-edge", "77a4f90a", "checked"])
def test_a_timeline_is_valid_by_its_schema_which_names_every_field(program, cluster, target):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    story = json.loads(program.run("timeline", target, cluster, "--format", "json"))
    validator.validate(story)
    assert set(story) == set(SCHEMA["properties"])
    properties = SCHEMA["properties"]["allocations"]["items"]["properties"]
    for allocation in story["allocations"]:
        assert set(allocation) == set(properties)
        for change in allocation["changes"]:
            assert set(change) == set(properties["changes"]["items"]["properties"])
        for task in allocation["tasks"]:
            of_task = properties["tasks"]["items"]["properties"]
            assert set(task) == set(of_task)
            for event in task["events"]:
                assert set(event) == set(of_task["events"]["items"]["properties"])
            for gap in task["gaps"]:
                assert set(gap) == set(of_task["gaps"]["items"]["properties"])


def test_times_before_nomad_0_6_are_valid(program):
    story = json.loads(program.run("timeline", "example", ROOT / "samples" / "nomad-0.6" / "allocations.json", "--format", "json"))
    jsonschema.Draft202012Validator(SCHEMA).validate(story)
