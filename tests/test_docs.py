"""README and docs/ are true where that can be told without running anything; and the site that is made of them."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from helpers import REPOSITORY, metadata_of
from pages import PAGES, blocks, prose
from PIL import Image
from ruamel.yaml import YAML

import paddle_alexnet
from paddle_alexnet import PRESETS, load_config
from paddle_alexnet.commands.main import SUBCOMMANDS, parser_of
from paddle_alexnet.config.choices import one_of
from paddle_alexnet.config.recipe import recipes
from paddle_alexnet.config.schema import key_types
from paddle_alexnet.data.demo import draw_demo
from paddle_alexnet.network.presets import Conv, Linear, Preset, walk
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.system.errors import UserError

DOCS = REPOSITORY / "docs"
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


def read(words: list[str], *, whole: bool = True) -> None:
    """Read a command line as the tool does; one that is not `whole` may lack what is required."""
    subcommand, *rest = words
    parser = parser_of(one_of(subcommand, SUBCOMMANDS, what="subcommand"))
    if not whole:
        for action in parser._actions:
            action.required = False
    arguments = parser.parse_args([word for word in rest if word != "--help"])
    if getattr(arguments, "override", None):
        recipe = arguments.config if str(arguments.config) in recipes() else None
        config = load_config(recipe, arguments.override)
        one_of(config.model.preset, PRESETS, what="preset")


@each_page
def test_every_command_line_is_read_as_the_tool_reads_it(page):
    for language, block in blocks(page):
        if language in ("sh", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                if found := re.search(
                    r"(?:^|\s)(?:paddle-alexnet|tools/(\w+)\.py) ([a-z-].*)", line.partition(" |")[0]
                ):
                    script, rest = found.groups()
                    subcommand = [script.replace("_", "-")] if script else []
                    read([*subcommand, *shlex.split(rest, comments=True)])


@each_page
def test_every_command_in_a_sentence_names_a_subcommand_and_options_that_are_there(page):
    for command in re.findall(r"`paddle-alexnet ([a-z][^`]*)`", prose(page)):
        read(shlex.split(command.replace("…", "")), whole=False)


def test_a_wrong_command_would_be_found():
    for line in ("trian", "train --epochs 3", "train -o train.lr=1", "train -o model.preset=alexnet", "evaluate"):
        with pytest.raises(UserError):
            read(line.split())


@each_page
def test_every_make_command_names_a_target(page):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@each_page
def test_every_key_in_a_sentence_is_one(page):
    groups = "|".join({key.partition(".")[0] for key in key_types() if "." in key})
    files = ("json", "pdmodel", "pdiparams", "py")
    for key in re.findall(rf"`((?:{groups})\.\w+)", prose(page)):
        assert key in key_types() or key.rpartition(".")[2] in files, key


@each_page
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


def test_paths_that_contributing_names_exist():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"(?<![\w.])((?:[a-z_]+/)+(?:[\w.]+\.py)?)(?=[`, ])", text))
    assert "tests/network/test_structure.py" in paths
    roots = (REPOSITORY, REPOSITORY / "paddle_alexnet", REPOSITORY / "paddle_alexnet" / "network")
    assert [path for path in sorted(paths) if not any((root / path).exists() for root in roots)] == []


def test_test_files_that_ci_names_exist():
    named = re.findall(r"\btests/[\w/.]+", (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


@cache
def anchors(page: Path) -> set[str]:
    """What MkDocs calls the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@each_page
def test_every_script_compiles_and_every_recipe_is_read(page, tmp_path):
    for language, block in blocks(page):
        if language == "python":
            compile(block, str(page), "exec")
        elif language == "yaml" and re.match(r"(output|model|data|optimizer|schedule|train):", block):
            (tmp_path / "recipe.yaml").write_text(block, encoding="utf-8")
            load_config(tmp_path / "recipe.yaml")


def test_every_message_that_troubleshooting_explains_is_one_of_ours():
    pieces = "\n".join(strings(path) for path in (REPOSITORY / "paddle_alexnet").rglob("*.py"))
    pieces += (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    quoted = re.findall(
        r"`([^`]*)`", "".join(re.findall(r"\*\*.*?\*\*", (DOCS / "troubleshooting.md").read_text(), re.S))
    )
    messages = [" ".join(text.split()) for text in quoted if "…" in text]
    assert len(messages) > 20
    parts = {
        part.strip(" :,(") for message in messages for part in re.sub("^(error|warning): ", "", message).split("…")
    }
    assert {part for part in parts if part not in pieces} == set()


def strings(path: Path) -> str:
    """The text in a module's strings, the parts of an f-string a line each."""
    found = (
        node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant)
    )
    return "\n".join(value for value in found if isinstance(value, str))


def test_readme_s_table_of_networks_is_that_of_the_presets():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \| ([\d,]+) \|$", text, re.MULTILINE)
    assert {name: (int(size), count) for name, size, count in rows} == {
        name: (preset.image_size, f"{parameters(preset):,}") for name, preset in PRESETS.items()
    }


def parameters(preset: Preset) -> int:
    """The number of weights and biases, added up by the table."""
    count, channels = 0, 3
    for *_, stage in walk(preset):
        if isinstance(stage, Conv):
            count += stage.out_channels * (channels // stage.groups * stage.kernel_size**2 + 1)
            channels = stage.out_channels
        elif isinstance(stage, Linear):
            count += (stage.in_features + 1) * (stage.out_features or preset.num_classes)
    return count


def test_contributing_s_table_of_rooms_is_that_of_the_package_and_its_layers():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section("Rooms"), re.MULTILINE)
    rooms = [re.findall(r"\w+", row) for row in rows]
    settings = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r'^containers = \["paddle_alexnet"\].*?^layers = \[(.*?)^\]', settings, re.DOTALL | re.MULTILINE)
    assert rooms == [line.split(" | ") for line in re.findall('"(.*)"', layers[1])]
    package = {path.stem for path in (REPOSITORY / "paddle_alexnet").iterdir() if path.is_dir() or path.suffix == ".py"}
    package -= {"__init__", "__main__", "__pycache__"}
    assert {room for row in rooms for room in row} == package


def test_contributing_s_reading_order_names_what_is_there():
    rows = re.findall(r"^\| `(\w+)` \| `([\w/]+)\.py` \|", section("Reading order"), re.MULTILINE)
    assert len(rows) > 10
    for name, file in rows:
        module = f"paddle_alexnet.{file.replace('/', '.')}"
        found = vars(import_module(module))[name]
        assert getattr(found, "__module__", module) == module, name


def section(title: str) -> str:
    """Return a section of CONTRIBUTING.md."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.search(rf"^## {title}$(.*?)^## ", text, re.DOTALL | re.MULTILINE)[1]


def test_every_page_is_in_the_navigation():
    named = re.findall(r": ([\w/-]+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_readme_s_picture_is_drawn(tmp_path):
    spec = importlib.util.spec_from_file_location("picture", DOCS / "picture.py")
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    draw_demo(tmp_path / "data", images_per_class=10)
    network = paddle_alexnet.AlexNet("small", 10)
    save_checkpoint(tmp_path / "checkpoint", network, metadata_of(network))
    picture.main(tmp_path / "checkpoint", tmp_path / "data", tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as drawn, Image.open(DOCS / "picture.png") as kept:
        assert drawn.size == kept.size
        assert len(set(drawn.convert("L").tobytes())) > 50


def test_citation_is_of_this_version():
    citation = YAML(typ="safe").load(REPOSITORY / "CITATION.cff")
    assert citation["version"] == paddle_alexnet.__version__


@pytest.mark.slow
def test_site_is_built_without_a_warning_and_fetches_nothing(tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("MkDocs is not installed: make docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'(<script[^>]* src|<img[^>]* src|<link[^>]*stylesheet[^>]* href)="(https?:)?//', text), (
            page
        )
    modules = (tmp_path / "reference" / "modules" / "network.html").read_text(encoding="utf-8")
    assert "Local response normalization (paper section 3.3)" in modules
    assert "label_smoothing" in (tmp_path / "reference" / "keys.html").read_text(encoding="utf-8")
