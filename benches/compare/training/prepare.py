#!/usr/bin/env python3
"""Make the table that both trainers learn from: the example's workbooks, joined by the example's own SQL.

    prepare.py DATA_DIR FEATURES.parquet     # DATA_DIR as made by examples/flights/make.py, with or without --all
"""

import io
import pathlib
import sys
import zipfile

import datafusion
import pandas
import pyarrow
import pyarrow.parquet
from python_calamine import CalamineWorkbook

SQL = pathlib.Path(__file__).parents[3] / "examples/flights/sql/features.sql"
WORDS = ("carrier", "tailnum", "origin", "dest")


def workbook_rows(source: bytes) -> tuple[list, list]:
    """The columns and the rows whose cells have the types of their columns; the others are what ingest quarantines."""
    columns, *rows = CalamineWorkbook.from_filelike(io.BytesIO(source)).get_sheet_by_index(0).to_python()
    numbers = [position for position, column in enumerate(columns) if column not in (*WORDS, "time_hour")]
    fits = [row for row in rows if not any(isinstance(row[one], str) and row[one] for one in numbers)]
    return columns, [[None if cell == "" else cell for cell in row] for row in fits]


def load_flights(path: pathlib.Path) -> pandas.DataFrame:
    flights, columns = [], []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            columns, rows = workbook_rows(archive.read(name))
            flights.extend(rows)
    table = pandas.DataFrame(flights, columns=columns)
    for column in columns:
        if column == "time_hour":
            table[column] = pandas.to_datetime(table[column])
        elif column not in WORDS:
            table[column] = table[column].astype("float64" if table[column].isna().any() else "int64")
    return table


def main() -> None:
    source, target = (pathlib.Path(argument) for argument in sys.argv[1:3])
    context = datafusion.SessionContext()
    flights = pyarrow.Table.from_pandas(load_flights(source / "flights-2013.zip"), preserve_index=False)
    context.register_record_batches("flights", [flights.to_batches()])
    context.register_csv("weather", str(source / "weather.csv"))
    table = context.sql(SQL.read_text(encoding="utf-8")).to_arrow_table()
    pyarrow.parquet.write_table(table, target)
    print(f"{target}: {table.num_rows:,} rows")


if __name__ == "__main__":
    main()
