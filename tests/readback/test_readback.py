"""The files of an export, read back by other programs."""

import csv
import json
import re

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.json
import pyarrow.parquet as pq
import pytest
from program import TABLES

FORMATS = ["parquet", "csv", "ndjson", "arrow"]

# The types of `alloclog schema`, with their names in Arrow and in DuckDB.
ARROW_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
}
DUCKDB_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    pa.date32(): "DATE",
}

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@pytest.fixture(scope="session")
def exported(program, cluster, tmp_path_factory):
    """The directory of each format; CSV with --csv-raw."""
    root = tmp_path_factory.mktemp("exported")
    for format in FORMATS:
        raw = ["--csv-raw"] if format == "csv" else []
        program.export(cluster, cluster.parent / "logs", "-o", root / format, "--format", format, *raw)
    return {format: root / format for format in FORMATS}


@pytest.fixture(scope="session")
def schemas(program):
    """The column names and types of every table, from `alloclog schema`."""

    def schema(table):
        columns = re.findall(r"^[* ] (\w+) +(\w+)  ", program.run("schema", table).decode(), re.MULTILINE)
        return pa.schema([pa.field(name, ARROW_TYPES[kind]) for name, kind in columns if kind in ARROW_TYPES])

    return {table: schema(table) for table in TABLES}


def plain(table):
    """The table without dictionaries and large offsets, because two files may store strings in different layouts."""

    def kind(field):
        inner = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        return pa.string() if pa.types.is_large_string(inner) or pa.types.is_string_view(inner) else inner

    fields = [pa.field(field.name, kind(field)) for field in table.schema]
    return table.cast(pa.schema(fields))


def read_parquet(path, schema):
    return pq.read_table(path)


def read_arrow(path, schema):
    return pa.ipc.open_file(path).read_all()


def read_ndjson(path, schema):
    # pyarrow expects date columns as numbers of days. So read text, and convert it to dates afterwards.
    as_text = pa.schema([field.with_type(pa.string()) if field.type == pa.date32() else field for field in schema])
    parse = pa.json.ParseOptions(explicit_schema=as_text, unexpected_field_behavior="error")
    return pa.json.read_json(path, parse_options=parse).cast(schema)


def read_csv(path, schema):
    convert = pa.csv.ConvertOptions(
        column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    return pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(newlines_in_values=True), convert_options=convert)


def by_duckdb(select):
    """A function that reads a file with DuckDB. The types come from the schema if the file has none."""

    def read(path, schema):
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        columns = ", ".join(f"'{field.name}': '{DUCKDB_TYPES[field.type]}'" for field in schema)
        if path.suffix == ".arrow":
            connection.register("arrow_file", read_arrow(path, schema))
        return connection.sql(select.format(path=path, columns=columns)).to_arrow_table()

    return read


READERS = {
    "parquet by DuckDB": by_duckdb("SELECT * FROM read_parquet('{path}')"),
    "arrow by pyarrow": read_arrow,
    "arrow by DuckDB": by_duckdb("SELECT * FROM arrow_file"),
    "ndjson by pyarrow": read_ndjson,
    "ndjson by DuckDB": by_duckdb(
        "SELECT * FROM read_json('{path}', format = 'newline_delimited', columns = {{{columns}}})"
    ),
    "csv by pyarrow": read_csv,
    "csv by DuckDB": by_duckdb(
        "SELECT * FROM read_csv('{path}', columns = {{{columns}}}, auto_detect = false, header = true, delim = ',', "
        "quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false)"
    ),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("reader", READERS)
def test_every_format_reads_back_as_the_same_rows(exported, schemas, table, reader):
    format = reader.split()[0]
    expected = pq.read_table(exported["parquet"] / f"{table}.parquet")
    assert expected.num_rows > 0
    read = plain(READERS[reader](exported[format] / f"{table}.{format}", schemas[table]))
    assert read.schema.remove_metadata() == plain(expected).schema.remove_metadata()
    assert read.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_files_have_the_documented_columns(exported, schemas, table, format):
    reader = {"parquet": read_parquet, "arrow": read_arrow}[format]
    read = plain(reader(exported[format] / f"{table}.{format}", None))
    assert read.schema.remove_metadata() == schemas[table]
    for field in read.schema:
        if field.name.endswith("_at"):
            assert field.type == pa.timestamp("us", tz="UTC")
            assert read.schema.field(f"{field.name}_ns").type == pa.int64()


@pytest.mark.parametrize("table", TABLES)
def test_both_columns_of_a_timestamp_agree(exported, table):
    read = pq.read_table(exported["parquet"] / f"{table}.parquet")
    moments = [name for name in read.column_names if name.endswith("_at")]
    for name in moments:
        micros = read[name].cast(pa.int64()).to_pylist()
        nanos = read[f"{name}_ns"].to_pylist()
        assert micros == [None if ns is None else ns // 1000 for ns in nanos]


def test_samples_distinguish_null_and_empty_text(exported):
    """The comparison of CSV files is meaningful only if the samples contain both."""
    events = pq.read_table(exported["parquet"] / "task_events.parquet")
    assert set(events["region"].to_pylist()) == {""}
    assert events["restart_reason"].null_count > 0
    lines = (exported["csv"] / "task_events.csv").read_bytes().splitlines()
    assert lines[1].startswith(b'"",')
    assert b",," in lines[1]


@pytest.mark.parametrize("table", TABLES)
def test_moments_in_text_formats_are_rfc3339(exported, table):
    with (exported["csv"] / f"{table}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows += [json.loads(line) for line in (exported["ndjson"] / f"{table}.ndjson").read_bytes().splitlines()]
    moments = [row[name] for row in rows for name in row if name.endswith("_at")]
    assert all(RFC3339.fullmatch(moment) for moment in moments if moment)


@pytest.mark.parametrize("table", TABLES)
def test_ndjson_has_every_column_on_every_line(exported, schemas, table):
    for line in (exported["ndjson"] / f"{table}.ndjson").read_bytes().splitlines():
        assert list(json.loads(line)) == schemas[table].names


@pytest.mark.parametrize("table", TABLES)
def test_parquet_suits_every_reader(exported, table):
    """Files use zstd, statistics, and dictionaries for repeated values.

    The files have no INT96 and no nanoseconds, because Spark refuses both.
    """
    path = exported["parquet"] / f"{table}.parquet"
    values = pq.read_table(path)
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups > 0
    for group in range(metadata.num_row_groups):
        for i in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(i)
            name = chunk.path_in_schema
            assert chunk.compression == "ZSTD", name
            assert chunk.physical_type != "INT96", name
            assert chunk.is_stats_set and chunk.statistics.has_null_count, name
            if chunk.statistics.null_count < chunk.num_values:
                assert chunk.statistics.has_min_max, name
            if chunk.physical_type == "BYTE_ARRAY":
                texts = values[name].drop_null()
                if 2 * pc.count_distinct(texts).as_py() < len(texts):
                    assert "RLE_DICTIONARY" in chunk.encodings, name
    for i, name in enumerate(values.column_names):
        kind = json.loads(metadata.schema.column(i).logical_type.to_json())
        if kind["Type"] == "Timestamp":
            assert (kind["timeUnit"], kind["isAdjustedToUTC"]) == ("microseconds", True), name


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_input_gives_the_same_bytes(program, cluster, exported, tmp_path, format):
    raw = ["--csv-raw"] if format == "csv" else []
    program.export(cluster, cluster.parent / "logs", "-o", tmp_path / "again", "--format", format, *raw)
    names = sorted(path.name for path in exported[format].iterdir())
    assert names == sorted([*(f"{table}.{format}" for table in TABLES), "_export.json"])
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == names
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (exported[format] / name).read_bytes(), name


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("table", ["task_events", "coverage"])
def test_standard_output_gets_what_the_file_gets(program, cluster, exported, table, format):
    raw = ["--csv-raw"] if format == "csv" else []
    sources = (cluster, cluster.parent / "logs")
    written = program.export(*sources, "-o", "-", "--format", format, *raw, tables=[table])
    assert written == (exported[format] / f"{table}.{format}").read_bytes()


def test_no_text_in_a_csv_file_starts_a_formula(program, tmp_path):
    """A text that begins like a formula gets an apostrophe. Other texts and all numbers are unchanged, even -1."""
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a=1", 'say "=1"', "", "x,\n=y"]
    now = 1_700_000_000_000_000_000
    allocations = [
        {
            "ID": f"00000000-0000-0000-0000-{i:012}",
            "Namespace": "default",
            "JobID": text,
            "TaskGroup": text,
            "Name": text,
            "NodeName": text,
            "ClientStatus": "failed",
            "ClientDescription": text,
            "TaskStates": {
                f"{text}task": {
                    "State": "dead",
                    "Failed": True,
                    "Restarts": 0,
                    "Events": [
                        {
                            "Type": "Terminated",
                            "Time": now,
                            "DisplayMessage": text,
                            "ExitCode": -1,
                            "Details": {"exit_code": "-1", "exit_message": text},
                        },
                        {"Type": f"{text}event", "Time": now + 1, "DisplayMessage": text, "RestartReason": text},
                    ],
                }
            },
            "CreateIndex": 1,
            "ModifyIndex": 2,
            "CreateTime": now,
            "ModifyTime": now,
        }
        for i, text in enumerate(texts)
    ]
    source = tmp_path / "allocations.json"
    source.write_text(json.dumps(allocations))
    program.export(source, "-o", tmp_path / "csv", "--format", "csv")
    program.export(source, "-o", tmp_path / "parquet")

    def safe(value):
        return f"'{value}" if value.startswith(STARTS_A_FORMULA) else value

    made_safe = 0
    for table in TABLES:
        expected = pq.read_table(tmp_path / "parquet" / f"{table}.parquet")
        with (tmp_path / "csv" / f"{table}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == expected.num_rows
        for column in expected.schema:
            cells = [row[column.name] for row in rows]
            values = expected[column.name].to_pylist()
            if pa.types.is_string(column.type):
                assert cells == ["" if value is None else safe(value) for value in values]
                assert not any(cell.startswith(STARTS_A_FORMULA) for cell in cells)
                made_safe += sum(cell.startswith("'") for cell in cells)
            elif pa.types.is_integer(column.type):
                assert cells == ["" if value is None else str(value) for value in values]
    assert made_safe > 0
    with (tmp_path / "csv" / "task_events.csv").open(newline="") as file:
        assert {row["exit_code"] for row in csv.DictReader(file)} == {"-1", ""}
