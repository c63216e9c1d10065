"""Writes the workbooks of crates/workflow/ingest/src/tests/workbooks: one table, by programs other than ours.

They are kept in the repository, since no writer of these formats is a crate. To make them again:
    pip install xlwt==1.3.0 odfpy==1.4.1 pyxlsbwriter==0.1.0
    python tests/python/make_workbooks.py FOLDER
"""

import datetime
import pathlib
import sys

import xlwt
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P
from pyxlsbwriter import XlsbWriter

HEADER = ["id", "name", "price", "at", "ok", "note"]
ROWS = [
    [1, "Zoë", 1.5, datetime.datetime(2013, 1, 1, 10, 30), True, "a"],
    [2, "Øre", 2.0, datetime.datetime(2013, 1, 2, 0, 0), False, None],
    [3, "two\nlines", -0.25, datetime.datetime(2013, 1, 3, 23, 59, 59), True, "007"],
]
OTHER = [["x"], [9]]


def xls(path):
    book = xlwt.Workbook(encoding="utf-8")
    moment = xlwt.easyxf(num_format_str="yyyy-mm-dd hh:mm:ss")
    for name, rows in [("data", [HEADER, *ROWS]), ("other", OTHER)]:
        sheet = book.add_sheet(name)
        for row, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                if isinstance(cell, datetime.datetime):
                    sheet.write(row, column, cell, moment)
                elif cell is not None:
                    sheet.write(row, column, cell)
    book.save(str(path))


def ods_cell(value):
    if value is None:
        return TableCell()
    if isinstance(value, bool):
        return TableCell(valuetype="boolean", booleanvalue="true" if value else "false")
    if isinstance(value, (int, float)):
        return TableCell(valuetype="float", value=value)
    if isinstance(value, datetime.datetime):
        return TableCell(valuetype="date", datevalue=value.isoformat())
    cell = TableCell(valuetype="string")
    for line in value.split("\n"):
        cell.addElement(P(text=line))
    return cell


def ods(path):
    document = OpenDocumentSpreadsheet()
    for name, rows in [("data", [HEADER, *ROWS]), ("other", OTHER)]:
        table = Table(name=name)
        for cells in rows:
            row = TableRow()
            for cell in cells:
                row.addElement(ods_cell(cell))
            table.addElement(row)
        document.spreadsheet.addElement(table)
    document.save(str(path))


def xlsb(path):
    with XlsbWriter(str(path)) as writer:
        for name, rows in [("data", [HEADER, *ROWS]), ("other", OTHER)]:
            writer.add_sheet(name)
            writer.write_sheet(rows)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    xls(folder / "table.xls")
    ods(folder / "table.ods")
    xlsb(folder / "table.xlsb")
