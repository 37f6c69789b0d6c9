import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import pytest

import engines


@pytest.fixture(params=list(engines.ENGINES))
def engine(request):
    """Each test runs on every engine."""
    return request.param


@pytest.fixture
def ask(engine):
    """The rows of a view over a history, as dicts; optionally keyed by a column."""

    def ask(history, view, texts=None):
        return engines.run(engine, history.tables(), [view], texts)[view].to_pylist()

    return ask


@pytest.fixture
def ask_one(ask):
    """The one row of a view over a history."""

    def ask_one(history, view, texts=None):
        rows = ask(history, view, texts)
        assert len(rows) == 1, rows
        return rows[0]

    return ask_one
