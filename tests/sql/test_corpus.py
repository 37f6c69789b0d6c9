"""The program answers every query in corpus/ as DuckDB does, or refuses it and recommends a query that runs."""

import concurrent.futures

import pytest

import queries
from conftest import SAMPLES


@pytest.fixture(scope="module")
def answers(program):
    """The program's answer to each query. Two queries run at a time."""
    texts = [sql for _, _, sql in queries.corpus()]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(zip(texts, pool.map(lambda sql: queries.ask(program, sql, SAMPLES), texts)))


def test_the_corpus_is_large_enough():
    of = {}
    for file, question, sql in queries.corpus():
        of.setdefault(file, set()).add(sql)
    assert sum(map(len, of.values())) >= 300
    assert all(len(texts) >= 10 for texts in of.values()), {file: len(texts) for file, texts in of.items()}


def test_no_answer_differs_and_most_are_equal(answers, database):
    equal, refused, different = [], [], []
    for file, question, sql in queries.corpus():
        ours, stderr = answers[sql]
        if ours is None:
            refused.append((file, sql, stderr))
            continue
        try:
            theirs = queries.ask_duckdb(database, sql)
        except Exception as error:
            different.append(f"{file}: {sql}\n  DuckDB: {error}\n  ours: {ours[:3]}")
            continue
        if queries.equal(ours, theirs, "ORDER BY" in sql.upper().rsplit(")", 1)[-1]):
            equal.append(sql)
        else:
            pairs = [(one, other) for one, other in zip(ours, theirs) if one != other][:2]
            counts = f"{len(ours)} rows of alloclog, {len(theirs)} of DuckDB"
            different.append(f"{file}: {sql}\n  {counts}; the first that differ: {pairs}")
    total = len(equal) + len(refused) + len(different)
    print(f"{total} queries: {len(equal)} equal, {len(refused)} refused, {len(different)} different")
    for file, sql, stderr in refused:
        print(f"refused: {file}: {sql}\n  {stderr.strip()}")
    assert not different, "\n".join(different)
    assert len(equal) >= 0.9 * total


def test_a_refusal_advises_a_query_that_runs(answers, program):
    for sql, (rows, stderr) in answers.items():
        if rows is not None:
            continue
        advised = queries.advised(stderr)
        assert advised, f"{sql}\n{stderr}"
        assert queries.ask(program, advised, SAMPLES)[0] is not None, f"{sql}\n{stderr}"


def test_no_refusal_shows_the_engine(answers):
    for sql, (_, stderr) in answers.items():
        for word in ["polars", "SQLInterface", "SQLSyntax", "dtype", "Datetime(", "LazyFrame", "schema", "RESOLVED"]:
            assert word not in stderr, f"{sql}\n{stderr}"
