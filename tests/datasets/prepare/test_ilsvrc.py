"""Labels of ILSVRC-2012's validation set in their published forms; what cannot be proven is refused."""

from pathlib import Path

import pytest

from paddle_alexnet.data.classes import imagenet_words
from paddle_alexnet.datasets.prepare.ilsvrc import VAL_IMAGES, val_labels
from paddle_alexnet.system.errors import UserError

# The first ten pictures as each of three published files lists them.
CAFFE = (65, 970, 230, 809, 516, 57, 334, 415, 674, 332)
DEVKIT = (490, 361, 171, 822, 297, 482, 13, 704, 599, 164)
WNIDS = ("n01751748 n09193705 n02105855 n04263257 n03125729 n01735189 n02346627 n02776631 n03794056 n02328150").split()
NAMES = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 11)]


def read(path: Path, lines: list[str], names: list[str] = NAMES) -> list[str]:
    path.write_text("".join(f"{line}\n" for line in lines))
    _, labels = val_labels([path], names=names)
    return [labels[Path(name).stem] for name in names]


FORMS = {
    "name and wnid": lambda name, place: f"{name} {WNIDS[place]}",
    "wnid alone": lambda name, place: WNIDS[place],
    "Caffe": lambda name, place: f"{name} {CAFFE[place]}",
    "PaddleClas": lambda name, place: f"val/{name} {CAFFE[place]}",
    "from 1": lambda name, place: f"{name} {CAFFE[place] + 1}",
    "devkit with names": lambda name, place: f"{name} {DEVKIT[place]}",
    "devkit": lambda name, place: f"{DEVKIT[place]}",
    "Kaggle": lambda name, place: f"{Path(name).stem},{WNIDS[place]} 85 1 499 272 {WNIDS[0]} 131 0 499 254 ",
}


@pytest.mark.parametrize("form", FORMS)
def test_published_forms(tmp_path, form):
    lines = [FORMS[form](name, place) for place, name in enumerate(NAMES)]
    if form == "Kaggle":  # which lists them in no order
        lines = ["ImageId,PredictionString", *lines[::-1]]
    assert read(tmp_path / "val.txt", lines) == WNIDS


def test_devkit_s_whole_list_goes_by_the_numbers_in_the_names(tmp_path):
    lines = ["1"] * VAL_IMAGES
    lines[:10] = [str(number) for number in DEVKIT]
    lines[-5:] = ["10", "495", "128", "848", "186"]
    names = ["ILSVRC2012_val_00000003.JPEG", "ILSVRC2012_val_00000500.JPEG", "ILSVRC2012_val_00049998.JPEG"]
    assert read(tmp_path / "ground_truth_val.txt", lines, names) == ["n02105855", "n02119789", "n02106166"]


def test_each_class_has_one_number(tmp_path):
    names = [*NAMES, *(f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(101, 1101))]
    lines = [f"{name} {number}" for name, number in zip(names, [*DEVKIT, *range(1, 1001)])]
    labels = read(tmp_path / "val.txt", lines, names)[10:]
    assert sorted(labels) == sorted(imagenet_words())
    assert (labels[0], labels[101], labels[999]) == ("n02119789", "n02114548", "n03255030")  # kit fox, white wolf


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f"{name} {number}" for name, number in zip(NAMES, [66, *CAFFE[1:]])], "match no class order"),
        ([f"{name} {number}" for name, number in zip(NAMES, [1000, *CAFFE[1:]])], "match no class order"),
        ([f"{name} {CAFFE[0]}" for name in NAMES], "match no class order"),
        (["490"] * 10, "match no class order"),
        (["490"] * 9, "9 lines for 10 images"),
        ([f"{name} {number}" for name, number in zip(NAMES[:9], CAFFE)], "no line for ILSVRC2012_val_00000010"),
        ([*(f"{name} {number}" for name, number in zip(NAMES, CAFFE)), "x.JPEG 1000"], "class 1000 is not among"),
        (["cat"] * 10, "row 1 is '.* cat'"),
        (["ImageId,PredictionString", *(Path(name).stem for name in NAMES)], "row 1 is"),
        ([f"{name} {WNIDS[0]} x" for name in NAMES], "row 1 is"),
    ],
)
def test_ilsvrc_labels_that_match_no_class_order_raise(tmp_path, lines, message):
    with pytest.raises(UserError, match=rf"val.txt: .*{message}"):
        read(tmp_path / "val.txt", lines)


def test_numbers_of_unknown_pictures_are_refused(tmp_path):
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(11, 101)]
    with pytest.raises(UserError, match=r"have an unknown class order; .* n01751748"):
        read(tmp_path / "val.txt", [f"{name} {number}" for number, name in enumerate(names)], names)


def test_wnids_are_taken_before_numbers(tmp_path):
    (tmp_path / "a_val.txt").write_text("1\n" * 10)
    (tmp_path / "b_val.txt").write_text("".join(f"{name} {WNIDS[0]}\n" for name in NAMES))
    chosen, labels = val_labels(sorted(tmp_path.iterdir()), names=NAMES)
    assert chosen.name == "b_val.txt" and set(labels.values()) == {WNIDS[0]}
