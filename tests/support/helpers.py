"""What several test files call."""

import contextlib
import csv
import io
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import numpy as np
import paddle
from paddle import nn
from PIL import Image

import paddle_alexnet
from paddle_alexnet.commands.main import main
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.runs.metadata import Metadata, Origin
from paddle_alexnet.training.history import Epoch
from paddle_alexnet.training.optimizers import build_optimizer
from paddle_alexnet.training.parameter_groups import resolve_groups
from paddle_alexnet.training.schedules import build_schedule

REPOSITORY = Path(__file__).resolve().parents[2]


def small_config(root: Path, output: Path, *overrides: str) -> paddle_alexnet.Config:
    """A config that trains in seconds."""
    fixed = [
        f"data.root={root}",
        f"output={output}",
        "model.preset=small",
        "train.batch_size=8",
        "data.verify=false",
        "train.report=false",
    ]
    return paddle_alexnet.load_config(None, [*fixed, *overrides])


class OneLayer(nn.Linear):
    """A network whose only layer is called fc8: of one number to one, with a weight of 2 and a bias of 3."""

    def __init__(self, size: int = 1, weight: float = 2, bias: float = 3) -> None:
        super().__init__(size, size)
        self.weight.set_value(np.full((size, size), weight, np.float32))
        self.bias.set_value(np.full(size, bias, np.float32))

    def named_layers(self) -> Iterator[tuple[SimpleNamespace, nn.Layer]]:
        yield SimpleNamespace(name="fc8"), self

    def weights_and_biases(self) -> Iterator[tuple[str, paddle.Tensor]]:
        yield from (("fc8.weight", self.weight), ("fc8.bias", self.bias))


def metadata_of(network: AlexNet) -> Metadata:
    """Metadata as a training run would write it beside a network."""
    names = tuple(f"class {index}" for index in range(network.num_classes))
    preprocess = Preprocess(network.image_size, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    return Metadata(network.spec, ClassList(names, (None,) * len(names)), preprocess, Origin("a test's", epoch=3))


def save_untrained(place: Path, *, preset: str = "small", classes: int = 3, geometry: str = "squash") -> Path:
    """Write the checkpoint of a network with its first weights, and return its place."""
    paddle.seed(0)
    network = AlexNet(preset, classes)
    network.eval()
    metadata = metadata_of(network)
    save_checkpoint(place, network, replace(metadata, preprocess=replace(metadata.preprocess, geometry=geometry)))
    return place


def make_epoch(epoch: int = 1, **values: Any) -> Epoch:
    """Return the row of an epoch that improved, with some of its values replaced."""
    row = {"train_loss": 2.0, "train_top1": 0.1, "val_loss": 1.5, "val_top1": 0.5, "learning_rate": 1e-4}
    return Epoch(epoch, **{**row, "images_per_second": 9.5, "improved": True, "data": "images", **values})


def run_tool(verb: str, *arguments: object, cwd: Optional[Path] = None) -> "subprocess.CompletedProcess[str]":
    """Run a verb in this process as the command line does, from another folder if one is given."""
    out, err, here = io.StringIO(), io.StringIO(), Path.cwd()
    words = [verb.replace("_", "-"), *map(str, arguments)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if cwd is not None:
                os.chdir(cwd)
            code = main(words)
        finally:
            os.chdir(here)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def run_process(name: str, *arguments: object, cwd: Path = REPOSITORY) -> "subprocess.CompletedProcess[str]":
    """Run a subcommand in a process of its own, for tests whose subject is the process."""
    command = [sys.executable, "-m", "paddle_alexnet", name.replace("_", "-"), *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY)}
    environment.pop("OMP_NUM_THREADS", None)  # which the package has set in this process
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def assert_user_error(result: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    """Exit code 2, one error line that names what it must, no traceback."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert "error: " in line
    for part in parts:
        assert part in line


def picture(text: str) -> bytes:
    """A small image file, other bytes for another text."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(stream, "JPEG", comment=os.fsencode(text))
    return stream.getvalue()


def make_tree(root: Path, counts: dict[str, int]) -> Path:
    """Folders with so many pictures each, all of other bytes."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (root / folder / f"{i:03d}.JPEG").write_bytes(picture(f"{folder}/{i}"))
    return root


def make_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def make_train_tar(folder: Path, wnids: list[str], count: int) -> Path:
    """ILSVRC-2012's training archive with so many pictures a class."""
    folder.mkdir(parents=True, exist_ok=True)
    inner = {}
    for wnid in wnids:
        names = [f"{wnid}_{i}.JPEG" for i in range(count)]
        make_tar(folder / "class.tar", {name: picture(name) for name in names})
        inner[f"{wnid}.tar"] = (folder / "class.tar").read_bytes()
    (folder / "class.tar").unlink()
    path = folder / "ILSVRC2012_img_train.tar"
    make_tar(path, inner)
    return path


def rows_of(root: Path) -> list[tuple[str, str, str]]:
    """Filename, label and split of each row of a prepared set's labels.csv, as text."""
    with (root / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return [(row["filename"], row["label"], row["split"]) for row in csv.DictReader(stream)]


def file_contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def torch_pickle(arrays: dict[str, np.ndarray], *, legacy: bool = False) -> bytes:
    """What `torch.save` pickles of a dictionary of tensors, written out by hand."""

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    content = b"\x80\x02ccollections\nOrderedDict\n)R("
    for key, (name, array) in enumerate(arrays.items()):
        size = b"J" + struct.pack("<i", array.size)
        storage = text("storage") + b"ctorch\nFloatStorage\n" + text(str(key)) + text("cpu") + size
        content += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        content += storage + (b"N" if legacy else b"") + b"tQK\x00"
        content += numbers(array.shape) + numbers([step // array.itemsize for step in array.strides])
        content += b"\x89ccollections\nOrderedDict\n)RtR"
    return content + b"u."


def write_torch(path: Path, content: bytes, arrays: dict[str, np.ndarray]) -> None:
    """The file of `torch.save` that holds what `torch_pickle` gives of the arrays."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", content)
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{key}", array.tobytes("A"))


def optimizer_of(network, config, rate):
    """The optimizer of a config for a whole network."""
    return build_optimizer(config, resolve_groups(network.weights_and_biases(), config), rate)


def schedule_of(config, network, optimizer, *, epochs, steps):
    """The schedule of a config, with what the optimizer's groups have of their own."""
    rules = resolve_groups(network.weights_and_biases(), optimizer)
    return build_schedule(config, rules, learning_rate=optimizer.learning_rate, epochs=epochs, steps=steps)
