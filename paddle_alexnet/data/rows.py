"""The rows of a CSV of labels as they are, faulty ones too, and the same CSV without some of them.

Read with Python's own csv, which knows the line of each row, where pandas stops at the first broken one.
"""

import os
from csv import Error, reader, writer
from operator import itemgetter
from pathlib import Path
from sys import intern

import pandas as pd

from paddle_alexnet.data.findings import Finding
from paddle_alexnet.errors import UserError

_COLUMNS = ("filename", "label", "split")


def read_rows(csv: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """Columns line, filename, label and split (categories) of the complete rows; the others as findings.

    Raises UserError for a file that is no such CSV. A million rows take some seconds.
    """
    lines: list[int] = []
    filenames: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    malformed = []
    try:
        with csv.open(encoding="utf-8-sig", newline="") as stream:
            rows = reader(stream)
            header = next(rows, [])
            for column in _COLUMNS:
                if column not in header:
                    raise UserError(f"{csv}: no column {column!r}; it has {', '.join(map(repr, header)) or 'none'}")
            pick = itemgetter(*map(header.index, _COLUMNS))
            for row in rows:
                if len(row) != len(header):
                    if row:  # a blank line is none
                        detail = f"{len(row)} fields, where the header has {len(header)}"
                        malformed.append(Finding("malformed", rows.line_num, "", detail))
                    continue
                filename, label, split = pick(row)
                lines.append(rows.line_num)
                filenames.append(filename)
                labels.append(intern(label.strip()))  # few repeat many times: one string each
                splits.append(intern(split.strip()))
    except FileNotFoundError:
        raise UserError(f"{csv}: no such CSV; tools/prepare_data.py makes one") from None
    except (OSError, ValueError, Error) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{csv}: cannot read the CSV ({error})") from None
    table = pd.DataFrame(
        {
            "line": lines,
            "filename": pd.Series(filenames, dtype=object),
            "label": pd.Categorical(labels),
            "split": pd.Categorical(splits),
        }
    )
    return table, malformed


def cleaned_csv(csv: Path) -> Path:
    """Where the CSV without its bad rows goes. Raises UserError if there is something already."""
    target = csv.with_name(f"{csv.stem}.cleaned.csv")
    if target.exists():
        raise UserError(f"{target}: is there already; move it away, --fix never overwrites")
    return target


def write_without(csv: Path, lines: set[int]) -> Path:
    """Copy a CSV beside itself without the rows that end on these lines, and say where."""
    target = cleaned_csv(csv)
    partial = target.with_name(f"{target.name}.partial")
    try:
        with csv.open(encoding="utf-8-sig", newline="") as stream:
            rows = reader(stream)
            kept = [row for row in rows if rows.line_num not in lines]
        with partial.open("w", encoding="utf-8", newline="") as stream:
            writer(stream, lineterminator="\n").writerows(kept)
        os.replace(partial, target)
    except OSError as error:
        raise UserError(f"{target}: cannot write the CSV ({error})") from None
    finally:
        partial.unlink(missing_ok=True)
    return target
