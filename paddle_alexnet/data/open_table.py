"""The data set that a config names: its table, or the embedded demo set."""

import logging
from pathlib import Path

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.demo import DEMO_NAME, draw_demo
from paddle_alexnet.data.table import ImageTable, find_root, read_table
from paddle_alexnet.data.tree import say_notes
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import exists

_log = logging.getLogger(__name__)


def open_table(data: DataConfig, *, beside: Path) -> ImageTable:
    """Read the table of the configured data set, else of `data/` if it exists, else of the demo set.

    The demo set is drawn into `demo-data` in the folder that `beside` lies in, unless it is there.
    """
    csv, classes = (Path(text) if text else None for text in (data.csv, data.classes))
    root = find_root(Path(data.root) if data.root else None, csv)
    if root is None:
        root = beside.parent / "demo-data"
        _log.info(f"no data.root is set, no data/labels.csv there: training on the {DEMO_NAME}, drawn in {root}")
        if not exists(root):
            try:
                draw_demo(root)
            except UserError:
                if not exists(root):  # else a run that started at the same time has drawn the same images
                    raise
    table = read_table(root, csv, classes)
    say_notes(table.root, table.notes)
    return table
