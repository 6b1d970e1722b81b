"""The data set of a config: its table, or the embedded demo set."""

import logging
from pathlib import Path
from typing import Optional

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.table import ImageTable, read_table
from paddle_alexnet.data.tree import say_notes
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.user_path import UserPath

_log = logging.getLogger(__name__)


def open_table(data: DataConfig, *, beside: Path) -> ImageTable:
    """Read the table of the configured data set, else of `data/` if it exists, else of the demo set.

    Args:
        beside: If necessary, the demo set is drawn into `demo-data` beside this path.
    """
    csv, classes = (UserPath(text) if text else None for text in (data.csv, data.classes))
    root = find_root(UserPath(data.root) if data.root else None, csv)
    if root is None:
        from paddle_alexnet.data.demo import DEMO_NAME, draw_demo

        root = beside.parent / "demo-data"
        _log.info(f"data.root is not set and data/labels.csv not found; training on the {DEMO_NAME} in {root}")
        if not root.exists():
            try:
                draw_demo(root)
            except UserError:
                if not root.exists():  # otherwise another run has just drawn the same images
                    raise
    table = read_table(root, csv, classes)
    say_notes(table.root, table.notes)
    return table


def find_root(root: Optional[Path], csv: Optional[Path]) -> Optional[Path]:
    """Return `root`, else the CSV's folder, else `data` if it holds a data set, else None."""
    if root is None and csv is not None:
        return csv.parent
    if root is None and UserPath("data/labels.csv").is_file():
        return UserPath("data")
    return root
