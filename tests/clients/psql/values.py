"""values.py ROWS COLUMNS COPIED SELECTED: fails unless what COPY wrote, and what psql showed, as text are these rows of JSON, value by value.

COLUMNS is name|type,name|type,… psql separates cells, rows and nulls by control characters. The texts are read as PostgreSQL's manual has them, and not by a client.
"""
import datetime
import json
import re
import sys

UNESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unescape(cell):
    return None if cell == "\\N" else re.sub(r"\\(.)", lambda match: UNESCAPED.get(match[1], match[1]), cell)


def items(text):
    """The elements of an array's text, NULL as None."""
    assert text[0] == "{" and text[-1] == "}", text
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|([^,{}"]+)', text):
        yield None if plain == "NULL" else plain or re.sub(r"\\(.)", r"\1", quoted)


def value(text, ty):
    if text is None:
        return None
    if ty.endswith("[]"):
        return [value(item, ty[:-2]) for item in items(text)]
    if ty == "timestamp with time zone":
        return datetime.datetime.fromisoformat(text + ":00" if re.search(r"[+-]\d\d$", text) else text)
    return {"boolean": {"t": True, "f": False}.get, "integer": int, "bigint": int, "double precision": float, "jsonb": json.loads, "text": str}[ty](text)


def expected(wanted, ty):
    return datetime.datetime.fromisoformat(wanted) if ty == "timestamp with time zone" and wanted is not None else wanted


rows = [list(json.loads(line).values()) for line in open(sys.argv[1], encoding="utf-8")]
columns = [column.split("|") for column in sys.argv[2].split(",")]


def read(path):
    return open(path, encoding="utf-8", newline="").read()


copied = [[unescape(cell) for cell in line.split("\t")] for line in read(sys.argv[3]).split("\n")[:-1]]
selected = read(sys.argv[4]).removesuffix("\n")
selected = selected.split("\x1e") if rows else selected.splitlines()
selected = [[None if cell == "\x1d" else cell for cell in row.split("\x1f")] for row in selected]
for seen in copied, selected:
    assert len(seen) == len(rows), f"{len(seen)} rows and not {len(rows)}: {seen[:2]}"
    for at, (cells, row) in enumerate(zip(seen, rows)):
        for (name, ty), cell, wanted in zip(columns, cells, row, strict=True):
            if value(cell, ty) != expected(wanted, ty):
                sys.exit(f"row {at}, {name}: {cell} and not {wanted}")
