"""The class list: which classes there are, and in which order the network answers."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Optional
from unicodedata import category

from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import read_small
from paddle_alexnet.system.text_files import decode, why

MAX_CLASSES = 100_000  # of more the last layer alone would take 1.6 GB: these are no classes
LARGEST_LIST = 10_000_000  # bytes

_WNID = re.compile(r"n\d{8}")


def is_wnid(text: str) -> bool:
    """Whether the text is a WordNet id as ImageNet writes it, such as n01440764."""
    return _WNID.fullmatch(text) is not None


def is_plain(name: str) -> bool:
    """Whether a class may be called so: by text on one line, without control characters."""
    return bool(name) and not any(category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of the network's outputs.

    `wnids` runs beside `names`, with None for a class that is not one of ImageNet's.
    """

    names: tuple[str, ...]
    wnids: tuple[Optional[str], ...]

    @classmethod
    def from_lines(cls, lines: Sequence[str], source: str) -> "ClassList":
        """Classes from lines like `n01440764 tench, Tinca tinca`, or a bare name or wnid a line.

        A class is called by its first word group; by all of them where two classes share it, and
        by its wnid too where they share those (ImageNet has two maillots and two cranes).
        """
        if len(lines) > MAX_CLASSES:
            raise UserError(f"{source}: more than {MAX_CLASSES:,} classes: name the file or column that holds them")
        wnids: list[Optional[str]] = []
        words: list[str] = []
        for line in lines:
            line = line.replace("\t", " ").strip()
            head, _, rest = line.partition(" ")
            wnid = head if is_wnid(head) else None
            wnids.append(wnid)
            words.append((rest.strip() or imagenet_words().get(head, head)) if wnid else line)
            if not is_plain(line):
                raise UserError(f"{source}: class {line!r:.80} holds control characters or a line break")
        first = [w.split(",")[0].strip() if wnid else w for w, wnid in zip(words, wnids)]
        shared = Counter(first)
        names = [w if shared[f] > 1 else f for f, w in zip(first, words)]
        shared = Counter(names)
        names = [f"{n} ({wnid})" if wnid and shared[n] > 1 else n for n, wnid in zip(names, wnids)]
        for kind, values in (("class", names), ("wnid", [w for w in wnids if w])):
            repeated = [value for value, count in Counter(values).items() if count > 1]
            if repeated:
                raise UserError(f"{source}: {kind} {repeated[0]!r} is listed twice: keep one line of it")
        return cls(tuple(names), tuple(wnids))

    @classmethod
    def read(cls, path: Path) -> "ClassList":
        """Classes from a text file, one a line, in the form of `synset_words.txt`."""
        try:
            lines = decode(read_small(path, at_most=LARGEST_LIST)).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot read the class list ({why(error)})") from error
        lines = [line for line in lines if line.strip()]
        if not lines:
            raise UserError(f"{path}: the class list is empty: write one class a line")
        return cls.from_lines(lines, str(path))

    @classmethod
    def unnamed(cls, count: int) -> "ClassList":
        """The class list of weights that come without one."""
        return cls(tuple(f"class {index}" for index in range(count)), (None,) * count)

    def lines(self) -> list[str]:
        """The lines that `from_lines` reads back."""
        return [f"{wnid} {name}" if wnid else name for name, wnid in zip(self.names, self.wnids)]

    def index(self) -> dict[str, int]:
        """Label to class index; a label is a class's name or its wnid."""
        by_wnid = {wnid: i for i, wnid in enumerate(self.wnids) if wnid}
        return {**by_wnid, **{name: i for i, name in enumerate(self.names)}}

    def __len__(self) -> int:
        return len(self.names)


def imagenet_words() -> dict[str, str]:
    """The words of the 1000 classes of ILSVRC-2012 by wnid, in the order of the wnids.

    From WordNet's lemmas, as ImageNet's `synset_words.txt` gives them.
    """
    text = resources.files("paddle_alexnet.data").joinpath("synset_words.txt").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())
