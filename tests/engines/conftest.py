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
    """Returns a function that computes a view over a history and returns the rows as dicts."""

    def ask(history, view, texts=None):
        return engines.run(engine, history.tables(), [view], texts)[view].to_pylist()

    return ask


@pytest.fixture
def ask_one(ask):
    """Like `ask`, for a view that has exactly one row. Returns that row."""

    def ask_one(history, view, texts=None):
        rows = ask(history, view, texts)
        assert len(rows) == 1, rows
        return rows[0]

    return ask_one
