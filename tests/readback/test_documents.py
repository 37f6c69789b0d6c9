"""The targets of links, anchors and paths in the documents exist, and the README is short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = [".", "docs", "docs/decisions", "deploy", "samples", "fuzz", "tests/lakes", "tests/sql/corpus"]
DOCUMENTS = sorted(path for place in PLACES for path in (ROOT / place).glob("*.md"))
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(document):
    """The anchors that the headings of a page have."""
    headings = re.findall(r"^#+ (.*)", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_documents():
    assert {"README.md", "CONTRIBUTING.md", "operations.md", "0001-polars-as-the-engine.md"} <= {d.name for d in DOCUMENTS}


@documents
def test_every_link_leads_to_a_file_and_a_heading(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if not target.startswith("http"):
            path, _, anchor = target.partition("#")
            file = (document.parent / path).resolve() if path else document
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


@documents
def test_every_path_that_is_named_exists(document):
    paths = re.findall(r"`((?:src|tests|queries|scripts|benches|deploy|docs|samples)/[\w./-]*\w/?)`", document.read_text())
    # In instructions, NAME and TABLE stand for the name of a file that the reader creates.
    paths = [path for path in paths if not re.search(r"\b(?:NAME|TABLE)\b|_NAME\b", path)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_decision_is_listed():
    index = (ROOT / "docs/decisions/README.md").read_text()
    pages = {path.name for path in (ROOT / "docs/decisions").glob("0*.md")}
    assert pages == set(re.findall(r"\]\((0\d+-[\w-]+\.md)\)", index))


def test_the_readme_fits_on_three_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
