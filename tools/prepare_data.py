"""Sort labelled pictures into the splits of a new folder that tools/train.py reads."""

import argparse
import shlex
from pathlib import Path

from paddle_alexnet import cli
from paddle_alexnet.data.prepare import DEFAULT_SPLIT, parse_classes, parse_split, prepare

_SOURCES = """\
sources:
  class folders, SRC/<class>/*.JPEG, with or without train/, val/ and test/ above them
  a flat folder of files whose names begin with the wnid, n02091244_123.JPEG
  ILSVRC2012_img_train.tar or its folder, with ILSVRC2012_img_val.tar and its labels (*val*.txt) if there
  a .csv of Imagenette's form, or its folder: path, label or noisy_labels_0, is_valid
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_SOURCES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, metavar="SRC", help="the pictures; never changed")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder to write")
    parser.add_argument(
        "--classes",
        type=parse_classes,
        help="classes to take, in order: a file with one a line, or a,b,c "
        "(default: all, sorted; of an archive the ten of the fluid script)",
    )
    parser.add_argument("--synset-words", type=Path, metavar="FILE", help="names of wnids, if not ILSVRC-2012's")
    parser.add_argument(
        "--split",
        type=parse_split,
        default=DEFAULT_SPLIT,
        help="percentages of train,val,test in each class (default: 70,10,20)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument("--link", action="store_true", help="make symbolic links in place of copies")
    args = parser.parse_args()
    prepared = prepare(**vars(args))
    print(prepared.counts.to_string())
    print(f"wrote {prepared.csv} and {prepared.classes}")
    print(f"next: python tools/train.py -o {shlex.quote(f'data.root={prepared.root}')}")


if __name__ == "__main__":
    cli.run(main)
