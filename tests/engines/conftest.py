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
    """Returns the rows of a view over a history, as dicts; with a column, as a dict by the values of that column."""

    def ask(history, view, texts=None):
        return engines.run(engine, history.tables(), [view], texts)[view].to_pylist()

    return ask


@pytest.fixture
def ask_one(ask):
    """Returns the row of a view over a history; the view must have exactly one."""

    def ask_one(history, view, texts=None):
        rows = ask(history, view, texts)
        assert len(rows) == 1, rows
        return rows[0]

    return ask_one
