"""Exported programs hold their convolutions in the form that is computed fast, and the logits are the same."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import paddle
import pytest
from helpers import metadata_of
from rounding import LOGITS, NOISE

from paddle_alexnet import AlexNet
from paddle_alexnet.exporting.convolutions import with_fast_convolutions
from paddle_alexnet.exporting.exporter import export_network, with_lrn
from paddle_alexnet.exporting.jit import save_program
from paddle_alexnet.inference.paddle_inference import PaddleInference
from paddle_alexnet.network.lrn import choose_backend
from paddle_alexnet.network.presets import PRESETS, Linear

RUN = """
import sys, paddle_alexnet, numpy as np
from pathlib import Path
from paddle_alexnet.inference.paddle_inference import PaddleInference
for folder in sorted(Path(sys.argv[1]).iterdir()):
    engine = PaddleInference({path.name: path.read_bytes() for path in folder.iterdir()}, source=folder)
    engine(np.zeros((2, *engine.input_shape[1:]), np.float32))
    print(folder.name, flush=True)
"""


@contextmanager
def features_of(name):
    """A preset's network without its linear layers, which hold most of the weights."""
    preset = PRESETS[name]
    convolutions = {
        name: stages for name, stages in preset.blocks.items() if not any(isinstance(stage, Linear) for stage in stages)
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "features", replace(preset, blocks=convolutions))
        network = AlexNet("features", lrn="native")
        network.eval()
        yield network


@pytest.fixture(scope="module", params=sorted(PRESETS))
def features(request):
    with features_of(request.param) as network:
        yield network


@pytest.mark.slow
@pytest.mark.skipif(paddle.__version__ >= "3", reason="Paddle 3's oneDNN is of another version")
def test_no_convolution_falls_to_the_reference_where_the_processor_has_avx2_and_no_more(tmp_path):
    for name in PRESETS:
        with features_of(name) as network:
            export_network(network, metadata_of(network), tmp_path / name)
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ONEDNN_VERBOSE": "1"}
    ran = subprocess.run([sys.executable, "-c", RUN, tmp_path], env=environment, capture_output=True, text=True)
    lines = ran.stdout.splitlines()
    assert ran.returncode == 0, ran.stderr
    assert sorted(PRESETS) == [line for line in lines if line in PRESETS]
    computed = [line.split(",")[4] for line in lines if ",exec,cpu,convolution," in line]
    assert len(computed) == 5 * len(PRESETS)
    assert all("avx2" in name for name in computed), set(computed)


@pytest.fixture(scope="module")
def program(features, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    exportable = with_lrn(features, choose_backend(features.lrn, job="jit"))
    save_program(exportable, metadata_of(exportable), folder)
    loaded = paddle.jit.load(str(folder / "model"))
    return loaded.program()  # kept, for Paddle 3 ends the process where its operators outlive it


def test_no_exported_program_begins_with_a_padded_convolution(program):
    ops = program.global_block().ops
    if paddle.__version__ < "3":
        attributes = next(op.all_attrs() for op in ops if op.type == "conv2d")
    else:
        attributes = next(op.attrs() for op in ops if op.name() == "pd_op.conv2d")
    assert list(attributes["paddings"]) == [0, 0]
    assert attributes["padding_algorithm"] == "EXPLICIT"


@pytest.mark.skipif(paddle.__version__ >= "3", reason="a program of Paddle 3 has no axis to add along")
def test_every_bias_can_be_fused_into_its_convolution(program):
    block = program.global_block()
    ops = block.ops
    after = [ops[n + 1] for n, op in enumerate(ops) if op.type == "conv2d" and "conv2d" in op.input("Filter")[0]]
    assert len(after) == 5
    for op in after:
        bias = block.var(op.input("Y")[0])
        assert op.type == "elementwise_add" and op.attr("axis") == 1
        assert bias.persistable and len(bias.shape) == 1


@pytest.mark.slow
@pytest.mark.skipif(paddle.__version__ >= "3", reason="only Paddle 2 quantizes so")
@pytest.mark.parametrize("features", ["half", "paddle2", "tensorflow"], indirect=True)
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_other_precisions_compute_the_same_program(features, tmp_path, precision):
    if precision == "bfloat16" and not paddle.base.core.supports_bfloat16():
        pytest.skip("this processor does not compute with bfloat16")
    size = features.image_size
    image = np.random.default_rng(0).standard_normal((2, 3, size, size), dtype=np.float32)
    save_program(features, metadata_of(features), tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    exact, found = (
        PaddleInference(files, source=tmp_path, precision=each, calibration=lambda: image)(image)
        for each in ("float32", precision)
    )
    assert found.shape == exact.shape
    assert 0 < np.linalg.norm(found - exact) <= NOISE[precision] * np.linalg.norm(exact)


def test_the_outputs_are_the_same(features):
    size = features.image_size
    image = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, size, size), dtype=np.float32))
    with paddle.no_grad():
        expected, found = features(image).numpy(), with_fast_convolutions(features, size)(image).numpy()
    assert np.abs(found - expected).max() <= LOGITS * max(1, np.abs(expected).max())


def test_the_network_and_the_random_numbers_to_come_stay_as_they_are(tmp_path):
    network = AlexNet("small", 3)
    layers, names = list(network.sublayers()), list(network.state_dict())
    paddle.seed(1)
    drawn = paddle.rand([3]).tolist()
    paddle.seed(1)
    export_network(network, metadata_of(network), tmp_path / "model")
    assert list(map(id, network.sublayers())) == list(map(id, layers))
    assert list(network.state_dict()) == names
    assert paddle.rand([3]).tolist() == drawn
