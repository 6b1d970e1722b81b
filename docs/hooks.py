"""MkDocs hooks that add the help of every subcommand, every key of a recipe and a page for each package."""

import argparse
import json
import os
from importlib import import_module
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from paddle_alexnet.commands.main import SUBCOMMANDS, parser_of
from paddle_alexnet.config.schema import Config, all_keys

PACKAGE = Path(__file__).parents[1] / "paddle_alexnet"
os.environ["COLUMNS"] = "96"  # width of the help texts


def rooms() -> "dict[str, list[str]]":
    """Return the modules of each room by its name; modules at the package's root are in the room ''."""
    found: dict[str, list[str]] = {"": []}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if not parts[-1].startswith("__"):
            room = parts[0] if len(parts) > 1 else ""
            found.setdefault(room, []).append(".".join(("paddle_alexnet", *parts)))
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    pages = [{f"paddle_alexnet.{room}" if room else "paddle_alexnet": _page(room)} for room in rooms()]
    next(each["Reference"] for each in config.nav if "Reference" in each).append({"Modules": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for room, modules in rooms().items():
        text = import_module(f"paddle_alexnet.{room}").__doc__ if room else "Modules at the root of the package."
        title = f"# paddle_alexnet{'.' * bool(room)}{room}\n\n{text}\n\n"
        content = title + "\n\n".join(f"::: {module}" for module in modules)
        files.append(File.generated(config, _page(room), content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if "<!-- help -->" in markdown:
        text = "\n".join(f"## {name}\n\n{_help(name)}\n" for name in SUBCOMMANDS)
        markdown = markdown.replace("<!-- help -->", text)
    return markdown.replace("<!-- keys -->", _keys())


def _keys() -> str:
    """Return a table for each group of keys, with an anchor for each key, such as keys.html#train.epochs."""
    groups: dict[str, list[str]] = {}
    for key, entry in all_keys(Config):
        meaning = entry.default.description.replace("|", "\\|").replace("*", "\\*")
        cells = f'<a id="{key}" href="#{key}"><code>{key}</code></a>', f"`{json.dumps(entry.default.default)}`", meaning
        groups.setdefault(key.rpartition(".")[0] or "The run", []).append(f"| {' | '.join(cells)} |")
    head = "| Key | Default | Meaning |\n| --- | --- | --- |"
    return "\n\n".join("\n".join([f"## {group}\n", head, *rows]) for group, rows in groups.items())


def _page(room: str) -> str:
    return f"reference/modules/{room or 'others'}.md"


def _help(subcommand: str) -> str:
    """Return the help of a subcommand and of its own subcommands."""
    parser = parser_of(subcommand)
    if subcommand == "train":
        parser.epilog = "See the page of recipe keys."
    parsers = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    return "\n\n".join(f"```text\n{each.format_help()}```" for each in parsers)
