"""Every engine gives the same logits, from one thread or from many."""

import os
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers import metadata_of
from paddle.base.proto import framework_pb2
from rounding import LOGITS

from paddle_alexnet import AlexNet, UserError
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.exporting.exporter import export_network
from paddle_alexnet.inference.engine import open_engine
from paddle_alexnet.inference.paddle_inference import PROGRAMS, WEIGHTS, PaddleInference
from paddle_alexnet.inference.program_check import check_program, check_weights
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.runs.model_folder import read_model, write_model

GRADIENTS = """
import sys
from pathlib import Path
import paddle_alexnet, numpy as np, paddle
from paddle_alexnet.system.limits import computing_threads
from paddle_alexnet.inference.engine import open_engine
from paddle_alexnet.runs.model_folder import read_model

if computing_threads() < 2:
    sys.exit(print("one thread"))
image = np.random.default_rng(0).standard_normal((8, 3, 131, 131), np.float32)
network = paddle_alexnet.AlexNet("small", 3)
network.eval()

def gradients():
    network.clear_gradients()
    (network(paddle.to_tensor(image)) ** 2).sum().backward()
    return [parameter.grad.numpy() for parameter in network.parameters()]

paddle.base.core.set_num_threads(computing_threads())
before = gradients()
open_engine(read_model(Path(sys.argv[1])))(image[:1])
same = all(np.array_equal(a, b) for a, b in zip(before, gradients()))
print("the same" if same else "otherwise")
"""
THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import paddle_alexnet, numpy as np, paddle
from paddle_alexnet.inference.engine import LiveNetwork
from paddle_alexnet.inference.paddle_inference import PaddleInference

network = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.Flatten(), paddle.nn.Linear(8 * 30 * 30, 5))
network.eval()
spec = paddle.static.InputSpec([None, 3, 32, 32], "float32", "image")
paddle.jit.save(network, sys.argv[1] + "/model", input_spec=[spec])
files = {path.name: path.read_bytes() for path in Path(sys.argv[1]).iterdir()}
images = [np.random.default_rng(i).standard_normal((1 + i, 3, 32, 32), np.float32) for i in range(8)]
for engine in (LiveNetwork(network), PaddleInference(files, source=Path(sys.argv[1]))):
    expected = [engine(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        jobs = [(i, pool.submit(engine, images[i])) for _ in range(50) for i in range(8)]
        wrong = sum(not np.array_equal(job.result(), expected[i]) for i, job in jobs)
    print(len(jobs), "calls", wrong, "wrong")
"""

CHANGES = {
    "text": lambda old: b"hello" * 400,
    "empty": lambda old: b"",
    "JSON": lambda old: b"[]",
    "truncated": lambda old: old[: len(old) // 2],
    "longer": lambda old: old + b"x",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A checkpoint and an exported folder of one network."""
    folder = tmp_path_factory.mktemp("models")
    network = AlexNet("small", 3)
    network.eval()
    save_checkpoint(folder / "checkpoint", network, metadata_of(network))
    export_network(network, metadata_of(network), folder / "exported")
    return folder


def test_the_engines_agree(models):
    image = np.random.default_rng(0).standard_normal((3, 3, 131, 131), np.float32)
    live, exported = (open_engine(read_model(models / name))(image) for name in ("checkpoint", "exported"))
    assert live.shape == exported.shape == (3, 3)
    np.testing.assert_allclose(live, exported, atol=LOGITS)


def test_eight_threads_get_the_answers_of_one(tmp_path):
    """Without a lock Paddle Inference ends the process: segmentation fault."""
    printed = subprocess.run([sys.executable, "-c", THREADS, str(tmp_path)], capture_output=True, text=True)
    assert (printed.returncode, printed.stdout) == (0, "400 calls 0 wrong\n" * 2), printed.stderr


def test_the_process_computes_after_an_engine_as_before(models):
    """Paddle Inference leaves it with one thread: a training that goes on is slower, and rounds otherwise."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # tests have one
    command = [sys.executable, "-c", GRADIENTS, str(models / "exported")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    if result.stdout == "one thread\n":
        pytest.skip("this machine has no more than one core")
    assert result.stdout == "the same\n"


def test_a_folder_without_weights_is_one_line(tmp_path):
    with pytest.raises(UserError, match="export the model again"):
        PaddleInference({"model.pdmodel": b""}, source=tmp_path)


@pytest.mark.parametrize("name", ["program", "model.pdiparams"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_of_another_content_with_a_right_checksum_is_one_line(models, tmp_path, name, change):
    """Paddle ends the process for most of these: segmentation fault."""
    model = read_model(models / "exported")
    contents = dict(model.files)
    name = program_of(model) if name == "program" else name
    contents[name] = change(contents[name])
    with pytest.raises(UserError, match="export the model again"):
        open_engine(written(tmp_path / "model", model.metadata, contents))


@pytest.mark.parametrize("missing", [1, 2**20], ids=["a byte", "a megabyte"])
def test_weights_that_end_too_early_are_seen_before_paddle_gets_them(models, missing):
    """Paddle does not always notice, and computes with what was in memory."""
    files = dict(read_model(models / "exported").files)
    program = next(name for name in PROGRAMS if name in files)
    check_weights(files, program, WEIGHTS, source=models)
    files[WEIGHTS] = files[WEIGHTS][:-missing]
    with pytest.raises(UserError, match="export the model again"):
        check_weights(files, program, WEIGHTS, source=models)


def test_weights_that_are_not_finite_are_named(models, tmp_path):
    """Paddle's ReLU makes 0 of NaN, so that the answers are finite."""
    model = read_model(models / "exported")
    content = bytearray(model.files[WEIGHTS])
    begin = 20 + struct.unpack_from("<i", content, 16)[0]  # see `program._tensors`
    content[begin : begin + 4] = np.float32(np.nan).tobytes()
    spoilt = written(tmp_path / "model", model.metadata, {**model.files, WEIGHTS: bytes(content)})
    with pytest.raises(UserError, match=r"model\.pdiparams: parameter conv2d_\d+\.b_0 holds NaN or infinity"):
        open_engine(spoilt)


def test_a_program_of_another_input_or_of_other_classes_is_one_line(models, tmp_path):
    model = read_model(models / "exported")
    metadata = model.metadata
    smaller = replace(metadata, preprocess=replace(metadata.preprocess, image_size=32))
    with pytest.raises(UserError, match=r"input shape \[-1, 3, 131, 131\] does not match \[-1, 3, 32, 32\]"):
        open_engine(written(tmp_path / "smaller", smaller, model.files))
    classes = ClassList(("a", "b"), (None, None))
    fewer = replace(metadata, classes=classes, model=replace(metadata.model, num_classes=2))
    with pytest.raises(UserError, match=r"\[2, 3\] does not match \[2, 2\]"):
        open_engine(written(tmp_path / "fewer", fewer, model.files))


def test_a_program_that_would_write_files_is_refused(tmp_path):
    program = framework_pb2.ProgramDesc()
    block = program.blocks.add(idx=0, parent_idx=-1)
    for operator in ("feed", "save_combine", "fetch"):
        block.ops.add(type=operator)
    with pytest.raises(UserError, match="the operator save_combine"):
        check_program("model.pdmodel", program.SerializeToString(), source=tmp_path)


def program_of(model):
    return next(name for name in PROGRAMS if name in model.files)


def written(place, metadata, contents):
    def fill(folder):
        for name, content in contents.items():
            (folder / name).write_bytes(content)

    write_model(place, metadata, fill)
    return read_model(place)
