"""Outputs that a user names: an older one of the same kind is replaced, nothing else."""

import os
import shutil
from pathlib import Path

import pytest
from helpers import assert_user_error, file_contents, run_tool, save_untrained
from PIL import Image

from paddle_alexnet.data.formats import HEIC_SUFFIXES, IMAGE_SUFFIXES
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.output_files import check_output, save_figure, save_image
from paddle_alexnet.weights import formats

KINDS = {"CSV": ".csv", "JSON": ".json", "HTML": ".html", "PNG": ".png"}


def photo(place: Path, form: str = "JPEG") -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(place, form)
    return place


@pytest.mark.parametrize("kind, ending", KINDS.items())
def test_an_output_replaces_an_older_one_of_its_kind(kind, ending, tmp_path):
    place = tmp_path / f"out{ending}"
    check_output(place, kind)
    if kind == "PNG":
        from matplotlib.figure import Figure

        save_figure(place, Figure())
        check_output(place, kind)
        save_image(place, Image.new("RGB", (1, 1)))
    else:
        place.write_text("old")
    check_output(place, kind, inputs=[None, tmp_path / "not-there"])
    check_output(tmp_path / "out.tmp", kind)
    (tmp_path / "out.tmp").touch()  # as `mktemp` makes it
    check_output(tmp_path / "out.tmp", kind)
    check_output(Path("/dev/null"), kind)
    check_output(None, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_replaces_no_photograph_and_no_file_of_another_kind(kind, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    photos = [photo(tmp_path / f"photo{ending}", "PNG") for ending in (*KINDS.values(), ".jpg", "")]
    for place in (tmp_path / "thesis.txt", tmp_path / "folder", tmp_path / "loop", tmp_path / ("a" * 300), *photos):
        with pytest.raises(UserError):
            check_output(place, kind)


@pytest.mark.parametrize("kind, own", KINDS.items())
def test_a_new_output_has_no_ending_of_another_kind(kind, own, tmp_path):
    for ending in {*KINDS.values(), *IMAGE_SUFFIXES, *HEIC_SUFFIXES, *formats.WRITERS, ".H5", ".PDPARAMS"} - {own}:
        with pytest.raises(UserError, match=rf"new{ending}: must have the suffix {own}; rename it"):
            check_output(tmp_path / f"new{ending}", kind)
    for ending in ("", ".txt", own.upper()):
        check_output(tmp_path / f"new{ending}", kind)


@pytest.mark.parametrize("kind, ending", KINDS.items())
def test_an_output_replaces_no_input_under_whatever_name(kind, ending, tmp_path):
    given = tmp_path / f"in{ending}"
    save_image(given, Image.new("RGB", (1, 1))) if kind == "PNG" else given.write_text("old")
    os.link(given, tmp_path / f"hard{ending}")
    (tmp_path / f"soft{ending}").symlink_to(given)
    (tmp_path / "sub").mkdir()
    for name in (f"in{ending}", f"hard{ending}", f"soft{ending}", f"sub/../in{ending}"):
        with pytest.raises(UserError, match=r"is an input|table of a data set"):
            check_output(tmp_path / name, kind, inputs=[given])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_table_of_a_data_set_is_no_older_output(encoding, tmp_path):
    (tmp_path / "labels.csv").write_text(",filename,label,Split\n", encoding=encoding)
    with pytest.raises(UserError, match="table of a data set"):
        check_output(tmp_path / "labels.csv", "CSV")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "MODEL", "photos/p.jpg", "--csv", "photos/p.jpg"),
        ("predict", "MODEL", "photos", "--json", "link"),
        ("predict", "MODEL", "photos", "--csv", "other.jpg"),
        ("predict", "MODEL", "photos", "--csv", "thesis"),
        ("predict", "MODEL", "photos", "--csv", "new.png"),
        ("predict", "MODEL", "photos", "--csv", "new.csv", "--json", "new.csv"),
        ("predict", "copy/checkpoints/best", "photos", "--json", "copy/checkpoints/best/metadata.json"),
        ("predict", "copy", "photos", "--csv", "copy/metrics.csv"),
        ("evaluate", "copy", "--root", "SET", "--confusion", "copy/metrics.csv"),
        ("evaluate", "MODEL", "--root", "SET", "--csv", "SET/labels.csv"),
        ("evaluate", "MODEL", "--root", "SET", "--csv", "other.jpg"),
        ("evaluate", "MODEL", "--root", "SET", "--confusion", "other.png"),
        ("evaluate", "MODEL", "--root", "SET", "--confusion", "new.csv", "--csv", "new.csv"),
        ("explain", "MODEL", "photos", "--output", ".", "--only", "maps"),
        ("explain", "MODEL", "photos/p.jpg", "--output", "thesis"),
        ("inspect-data", "SET", "--sheet", "other.png"),
        ("inspect-data", "SET", "--csv", "table.csv", "--report", "table-link.csv"),
        ("inspect-data", "SET", "--csv", "table.csv", "--fix"),
        ("benchmark", "scaling", "--rate", "1", "--link", "1", "--json", "other.jpg"),
        ("benchmark", "scaling", "--rate", "1", "--link", "1", "--json", "new.pth"),
        ("compare", "run", "run2", "--output", "thesis"),
        ("convert-weights", "MODEL", "thesis.pth"),
        ("export", "MODEL", "--output", "photos"),
        ("export", "MODEL", "--output", "thesis"),
        ("prepare-data", "--source", "SET", "--output", "photos"),
        ("train", "-o", "data.root=SET", "-o", "output=photos"),
        ("ablate", "-o", "data.root=SET", "-o", "output=ablation"),
    ],
    ids=" ".join,
)
def test_no_subcommand_writes_over_a_user_s_file(words, checkpoint, demo_set, tmp_path):
    for name in ("photos/p.jpg", "other.jpg"):
        photo(tmp_path / name)
    for name in ("other.png", "p-maps.png", "ablation/ablation.png"):
        photo(tmp_path / name, "PNG")
    (tmp_path / "link").symlink_to("photos/p.jpg")
    for name in ("thesis", "thesis.pth", "table.dropped.csv"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "table.csv").write_bytes((demo_set / "labels.csv").read_bytes())
    (tmp_path / "table-link.csv").symlink_to("table.csv")
    shutil.copytree(checkpoint, tmp_path / "copy" / "checkpoints" / "best")
    (tmp_path / "copy" / "metrics.csv").write_text("epoch,train_loss\n")
    before, data = file_contents(tmp_path), file_contents(demo_set)
    places = {"MODEL": str(checkpoint), "SET": str(demo_set)}
    words = [word.replace("SET", places["SET"]).replace("MODEL", places["MODEL"]) for word in words]
    assert_user_error(run_tool(*words, cwd=tmp_path))
    assert file_contents(tmp_path) == before
    assert file_contents(demo_set) == data


def test_outputs_are_written_again(checkpoint, demo_set, tmp_path):
    photo(tmp_path / "p.jpg")
    for _ in range(2):
        made = run_tool("predict", checkpoint, "p.jpg", "--csv", "top.csv", "--json", "top.jsonl", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        made = run_tool("explain", checkpoint, "p.jpg", "--output", "seen", "--only", "filters,maps", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        assert run_tool("inspect-data", demo_set, "--report", "found.csv", cwd=tmp_path).returncode < 2
    assert sorted(file_contents(tmp_path)) == [
        "contact-sheet.png", "found.csv", "p.jpg", "seen/filters.png", "seen/p-maps.png", "top.csv", "top.jsonl",
    ]  # fmt: skip


LONG = "a" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("train", "-o", f"data.root={LONG}"),
        ("train", "-o", f"data.csv={LONG}"),
        ("train", "-o", f"data.classes={LONG}", "-o", "data.root=SET"),
        ("train", "-o", f"output={LONG}", "-o", "data.root=SET"),
        ("train", "-o", "output=loop", "-o", "data.root=SET"),
        ("train", "-o", "output=loop/run", "-o", "data.root=SET"),
        ("train", "-o", f"model.weights={LONG}", "-o", "data.root=SET"),
        ("train", "-o", f"data.cache_folder={LONG}", "-o", "data.cache=disk", "-o", "data.root=SET"),
        ("train", "-c", f"{LONG}.yaml"),
        ("train", "-c", "loop"),
        ("train", "--resume", LONG),
        ("train", "--resume", "loop"),
        ("ablate", "-o", f"output={LONG}", "-o", "data.root=SET"),
        ("report", LONG),
        ("report", "loop"),
        ("compare", LONG, "loop"),
        ("evaluate", LONG),
        ("evaluate", "MODEL", "--root", LONG),
        ("evaluate", "MODEL", "--root", "SET", "--table", LONG),
        ("evaluate", "MODEL", "--root", "SET", "--confusion", f"{LONG}.png"),
        ("evaluate", "MODEL", "--root", "SET", "--csv", f"{LONG}.csv"),
        ("predict", "loop", "p.jpg"),
        ("predict", "MODEL", LONG),
        ("predict", "MODEL", "loop"),
        ("predict", "MODEL", "p.jpg", "--csv", LONG),
        ("predict", "MODEL", "p.jpg", "--json", "loop"),
        ("explain", "MODEL", "p.jpg", "--output", LONG),
        ("export", "loop"),
        ("export", "MODEL", "--output", LONG),
        ("export", "MODEL", "--output", "loop"),
        ("prepare-data", "--source", LONG, "--output", "o"),
        ("prepare-data", "--source", "loop", "--output", "o"),
        ("prepare-data", "--source", "SET", "--output", LONG),
        ("prepare-data", "--source", "SET", "--output", "loop/o"),
        ("prepare-data", "--source", "SET", "--output", "o", "--synset-words", LONG),
        ("inspect-data", LONG),
        ("inspect-data", "loop"),
        ("inspect-data", "SET", "--csv", LONG),
        ("inspect-data", "SET", "--sheet", f"{LONG}.png"),
        ("inspect-data", "SET", "--report", f"loop/{LONG}.csv"),
        ("convert-weights", LONG, "out"),
        ("convert-weights", "loop", "out"),
        ("convert-weights", "MODEL", LONG),
        ("convert-weights", "MODEL", "loop/x.pth"),
        ("convert-weights", "MODEL", "out", "--classes", LONG),
        ("benchmark", "loader", LONG),
        ("benchmark", "scaling", "--rate", "1", "--link", "1", "--json", LONG),
        ("benchmark", "scaling", "--rate", "1", "--link", "1", "--json", f"{LONG}/x.json"),
        ("benchmark", "predict", "small", "--folder", LONG),
        ("serve", LONG),
        ("summary", "--fidelity", "-c", LONG),
    ],
    ids=lambda words: " ".join(words).replace(LONG, "LONG"),
)
def test_a_path_that_cannot_be_looked_at_is_one_line_in_every_subcommand(words, checkpoint, demo_set, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    photo(tmp_path / "p.jpg")
    before = sorted(os.listdir(tmp_path))
    words = [word.replace("SET", str(demo_set)).replace("MODEL", str(checkpoint)) for word in words]
    assert_user_error(run_tool(*words, cwd=tmp_path))
    assert sorted(os.listdir(tmp_path)) == before


def test_a_source_with_a_loop_of_links_and_a_folder_called_csv_is_read(tmp_path):
    for name in ("a", "b"):
        photo(tmp_path / "source" / name / "p.jpg")
    (tmp_path / "source" / "a" / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "source" / "c.csv").mkdir()
    (tmp_path / "source" / "a" / ("x" * 200)).mkdir()
    for verb in (("prepare-data", "--source", "source", "--output", "o"), ("predict", "none", "source")):
        assert "Traceback" not in run_tool(*verb, cwd=tmp_path).stderr
