"""Every engine gives the same logits, from one thread or from many."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import metadata_of

from paddle_alexnet import AlexNet, UserError
from paddle_alexnet.export.jit import export
from paddle_alexnet.inference.engine import open_engine
from paddle_alexnet.inference.paddle_inference import PaddleInference
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.runs.model_folder import read_model

THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from paddle_alexnet import Predictor

logits = Predictor(sys.argv[1], device="cpu").logits
images = [np.random.default_rng(i).standard_normal((1 + i % 2, 3, 224, 224), np.float32) for i in range(8)]
expected = [logits(image) for image in images]
with ThreadPoolExecutor(8) as pool:
    jobs = [(i, pool.submit(logits, images[i])) for _ in range(20) for i in range(8)]
    wrong = sum(not np.array_equal(job.result(), expected[i]) for i, job in jobs)
print(len(jobs), "calls", wrong, "wrong")
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A checkpoint and an exported folder of one network."""
    folder = tmp_path_factory.mktemp("models")
    network = AlexNet("half", 3)
    network.eval()
    save_checkpoint(folder / "checkpoint", network, metadata_of(network))
    export(network, metadata_of(network), folder / "exported")
    return folder


def test_the_engines_agree(models):
    image = np.random.default_rng(0).standard_normal((3, 3, 224, 224), np.float32)
    live, exported = (open_engine(read_model(models / name))(image) for name in ("checkpoint", "exported"))
    assert live.shape == exported.shape == (3, 3)
    np.testing.assert_allclose(live, exported, atol=1e-5)


@pytest.mark.parametrize("name", ["checkpoint", "exported"])
def test_eight_threads_get_the_answers_of_one(name, models):
    """Without a lock Paddle Inference ends the process: segmentation fault."""
    command = [sys.executable, "-c", THREADS, str(models / name)]
    printed = subprocess.run(command, capture_output=True, text=True)
    assert (printed.returncode, printed.stdout) == (0, "160 calls 0 wrong\n"), printed.stderr


def test_what_is_not_an_exported_program_is_one_line(tmp_path):
    with pytest.raises(UserError, match="export the model again"):
        PaddleInference({"model.pdmodel": b""}, source=tmp_path)
