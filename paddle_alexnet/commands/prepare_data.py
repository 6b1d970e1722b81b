"""Split labeled images into train, val and test, in a new folder that `train` reads.

sources:
  class folders, SRC/<class>/**/*.JPEG, with or without train/, val/ and test/ above them
  a flat folder of files whose names begin with a wnid, such as n02091244_123.JPEG
  ILSVRC2012_img_train.tar or its folder, optionally with ILSVRC2012_img_val.tar and a published list of its labels
  a .csv like Imagenette's, or its folder: path, label or noisy_labels_0, is_valid
"""

import argparse

from paddle_alexnet.commands.options import command_line, not_negative, note, typed_path
from paddle_alexnet.system.errors import MissingFileError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", type=typed_path, required=True, metavar="SRC", help="images to read; never changed")
    parser.add_argument("--output", type=typed_path, required=True, metavar="DIR", help="new folder to write")
    parser.add_argument(
        "--classes",
        help="classes to take, in order: a file with one per line, or a,b,c "
        "(default: all, sorted; from an archive, the ten of the fluid script)",
    )
    parser.add_argument(
        "--synset-words", type=typed_path, metavar="FILE", help="class names of wnids (default: ILSVRC-2012's)"
    )
    parser.add_argument(
        "--split", default="70,10,20", help="percentages of train,val,test in each class (default: %(default)s)"
    )
    parser.add_argument("--seed", type=not_negative, default=0, help="seed of the random split (default: 0)")
    parser.add_argument(
        "--group",
        metavar="PATTERN",
        help="keep a group of images, such as one patient's, in one split: name a column of the table, or a regular "
        "expression that finds the group in file names, such as '^(patient[0-9]+)_'",
    )
    parser.add_argument("--link", action="store_true", help="make symbolic links instead of copies")
    parser.add_argument("--follow-links", action="store_true", help="follow symbolic links to files outside SRC")


def run(arguments: argparse.Namespace) -> None:
    if not arguments.source.exists():
        raise MissingFileError(f"{arguments.source}: not found; name a folder, an archive or a .csv")
    from paddle_alexnet.data.splits import parse_split
    from paddle_alexnet.datasets.prepare.preparation import parse_classes, prepare

    options = vars(arguments)
    classes = None if arguments.classes is None else parse_classes(arguments.classes)
    prepared = prepare(**{**options, "classes": classes, "split": parse_split(arguments.split)})
    print(*prepared.notes, prepared.counts.to_string(), sep="\n")
    print(f"wrote {prepared.csv} and {prepared.classes}")
    totals = prepared.counts.loc["total"]
    empty = [split for split in ("train", "val") if not totals[split]]
    if empty:
        print(f"no images in {' and '.join(empty)}, which training requires; change the percentages of --split")
    else:
        note(f"next: {command_line('train', '-o', f'data.root={prepared.root}')}")
