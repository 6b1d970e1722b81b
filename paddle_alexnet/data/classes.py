"""Class lists: class names and WordNet ids in the order of the network's outputs."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Optional
from unicodedata import category

from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import decode, explain_error, read_small

MAX_CLASSES = 100_000  # their last layer alone takes 1.6 GB
LARGEST_LIST = 10_000_000  # bytes

_WNID = re.compile(r"n\d{8}")


def is_wnid(text: str) -> bool:
    """Return whether the text is a WordNet id in ImageNet's form, such as n01440764."""
    return _WNID.fullmatch(text) is not None


def wnid_of(line: str) -> Optional[str]:
    """Return the wnid that a line such as `n01440764 tench` begins with, or None."""
    head = line.replace("\t", " ").strip().partition(" ")[0]
    return head if is_wnid(head) else None


def is_plain(name: str) -> bool:
    """Return whether a class name is one nonempty line without control characters."""
    return bool(name) and not any(category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of the network's outputs."""

    names: tuple[str, ...]
    wnids: tuple[Optional[str], ...]  # of each name, None for classes outside ImageNet

    @classmethod
    def from_lines(cls, lines: Sequence[str], source: str) -> "ClassList":
        """Return the classes of lines such as `n01440764 tench, Tinca tinca`, a bare name or a bare wnid.

        The name is the first word group; if two classes share it, all word groups, and if they share these too, the
        wnid is added (ImageNet has two maillots and two cranes).

        Raises:
            UserError: A name is not plain or repeated, or there are more than MAX_CLASSES.
        """
        if len(lines) > MAX_CLASSES:
            raise UserError(f"{source}: has more than {MAX_CLASSES:,} classes; name the file or column of the classes")
        wnids: list[Optional[str]] = []
        words: list[str] = []
        for line in lines:
            line = line.replace("\t", " ").strip()
            head, _, rest = line.partition(" ")
            wnid = wnid_of(line)
            wnids.append(wnid)
            words.append((rest.strip() or imagenet_words().get(head, head)) if wnid else line)
            if not is_plain(line):
                raise UserError(f"{source}: class {line!r:.80} has control characters or a line break; remove them")
        first = [w.split(",")[0].strip() if wnid else w for w, wnid in zip(words, wnids)]
        shared = Counter(first)
        names = [w if shared[f] > 1 else f for f, w in zip(first, words)]
        shared = Counter(names)
        names = [f"{n} ({wnid})" if wnid and shared[n] > 1 else n for n, wnid in zip(names, wnids)]
        for kind, values in (("class", names), ("wnid", [w for w in wnids if w])):
            repeated = [value for value, count in Counter(values).items() if count > 1]
            if repeated:
                raise UserError(f"{source}: {kind} {repeated[0]!r} is listed twice; remove one of the two lines")
        return cls(tuple(names), tuple(wnids))

    @classmethod
    def read(cls, path: Path) -> "ClassList":
        """Return the classes of a text file in the form of `synset_words.txt`, one per line."""
        try:
            lines = decode(read_small(path, at_most=LARGEST_LIST)).splitlines()
        except UserError:
            raise
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: the class list is unreadable ({explain_error(error)})") from error
        lines = [line for line in lines if line.strip()]
        if not lines:
            raise UserError(f"{path}: the class list is empty; write one class per line")
        return cls.from_lines(lines, str(path))

    @classmethod
    def unnamed(cls, count: int) -> "ClassList":
        """Return the classes `class 0`, `class 1`, … for weights without a class list."""
        return cls(tuple(f"class {index}" for index in range(count)), (None,) * count)

    def lines(self) -> list[str]:
        """Return lines that `from_lines` reads back."""
        return [f"{wnid} {name}" if wnid else name for name, wnid in zip(self.names, self.wnids)]

    def index(self) -> dict[str, int]:
        """Map each label, a class's name or wnid, to the class index."""
        by_wnid = {wnid: i for i, wnid in enumerate(self.wnids) if wnid}
        return {**by_wnid, **{name: i for i, name in enumerate(self.names)}}

    def __len__(self) -> int:
        return len(self.names)


def imagenet_words() -> dict[str, str]:
    """Map the wnids of ILSVRC-2012's 1000 classes, in order, to their WordNet lemmas (`synset_words.txt`)."""
    text = resources.files("paddle_alexnet.data").joinpath("synset_words.txt").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())
