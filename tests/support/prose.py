"""A check of prose: the terms that CONTRIBUTING.md's glossary replaces, sentence openings, headings without a noun.

`python tests/support/prose.py` checks docstrings, comments, messages, pages and recipes. It skips the files that
prose_pending.txt beside it lists, one a line, until they are rewritten.
"""

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PENDING = Path(__file__).with_name("prose_pending.txt")
CHECKED = "paddle_alexnet/**/*.py paddle_alexnet/**/*.html configs/*.yaml docs/**/*.md docs/*.py tools/*.py *.md"

# A regular expression, and the term to write instead.
TERMS = {
    r"pictures?|(?<!\d )(?<!val )(?<!test )(?<!train )(?<!set's )(?<!sets' )photographs?": "image",
    r"verbs?": "subcommand",
    r"remark(?:s|ed)?|(is|are) said|note(?=:)": "warning, or the verb that says who reports",
    r"looked at once": "held out",
    r"test of memory": "data leakage",
    r"ranges of the integers": "calibration",
    r"(?:parts|parts of the network) are worth": "ablation",
    r"same numbers again": "reproducibility",
    r"to the bit|to the last digit": "bit-identical",
    r"unrest": "measurement noise",
    r"go(?:es)? on|went on|going on": "resume, continue",
    r"choose the epoch by": "model selection",
    r"shell finds?": "PATH",
    r"optimis\w+|normalis\w+|(?:dis)?colour\w*|initialis\w+|grey|centres?|neighbour\w*|behaviours?": "US spelling",
    r"but for": "except",
    r"mend(?:s|ed|ing|able)?": "fix",
}
OPENING = re.compile(r"(?:^|[.!?:] )(Of|Where|What|Those|With|So)\b")
HEADING = re.compile(
    r"^(What|Where|When|Which|Who|How(?! to)|Those|That|There|It|If|And|Nor|To|Held|Without|With|In|On|Of)\b"
)


def faults(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the description of each fault in a file."""
    for line, kind, text in {".py": _python, ".md": _markdown, ".html": _lines}.get(path.suffix, _comments)(path):
        text = re.sub(r"`[^`]+`", "CODE", " ".join(text.split()))
        for term, better in TERMS.items():
            for found in re.finditer(rf"\b(?:{term})\b", text, re.IGNORECASE):
                yield line, f"{found.group()!r}: write {better}"
        if kind == "heading" and HEADING.search(text):
            yield line, f"heading {text!r}: write a noun phrase"
        elif kind == "prose" and (opening := OPENING.search(text)):
            yield line, f"a sentence opens with {opening.group(1)!r}: {text[opening.start() :][:60]}"


def _python(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the comments and, by paragraphs, the strings of more than one word."""
    yield from _comments(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            line = node.lineno
            for paragraph in re.split(r"(\n\s*\n|\n\s*(?=[-*] ))", node.value):
                yield line, "prose", paragraph
                line += paragraph.count("\n")


def _comments(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the comments of a Python file or a recipe, consecutive lines as one text."""
    if path.suffix == ".py":
        with path.open("rb") as file:
            found = [(t.start[0], t.string) for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT]
    else:
        found = [(line, text[text.index("#") :]) for line, _, text in _lines(path) if "#" in text]
    block: list[str] = []
    for (line, comment), (following, _) in zip(found, [*found[1:], (0, "")]):
        block.append(comment.lstrip("# "))
        if following != line + 1:
            yield line - len(block) + 1, "prose", " ".join(block)
            block = []


def _markdown(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the headings, list items, table rows and paragraphs outside fenced blocks."""
    lines = list(_lines(path))
    fenced, block = False, []
    for line, _, text in [*lines, (len(lines) + 1, "", "")]:
        fence = text.lstrip().startswith("```")
        fenced ^= fence
        if block and (fence or not text.strip() or re.match(r"\s*([-*|#!]|\d+\. )", text)):
            yield line - len(block), "prose", re.sub(r"[*_\[]|\]\([^)]*\)", "", " ".join(block))
            block = []
        if text.startswith("#"):
            yield line, "heading", text.lstrip("# ")
        elif text.strip() and not (fenced or fence):
            block.append(text.strip().lstrip("-*|0123456789. "))


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        yield line, "text", text


def files() -> list[Path]:
    """Return the files whose prose is checked."""
    return sorted(path for pattern in CHECKED.split() for path in ROOT.glob(pattern))


def main() -> int:
    """Print the faults of all files except the pending ones, and return their exit code."""
    pending = PENDING.read_text(encoding="utf-8").split() if PENDING.is_file() else []
    checked = [path for path in files() if path.relative_to(ROOT).as_posix() not in pending]
    found = [f"{path.relative_to(ROOT)}:{line}: {fault}" for path in checked for line, fault in faults(path)]
    print("\n".join([*found, f"prose: {len(found)} faults in {len(checked)} files, {len(pending)} pending"]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
