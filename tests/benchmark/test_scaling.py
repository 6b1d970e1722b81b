"""The simulation of several GPUs: by hand, in its limits, and beside two processes on this machine."""

import json
import os
import subprocess
import sys

import pytest
from helpers import REPOSITORY, assert_user_error, run_tool

from paddle_alexnet.benchmark.scaling import Cluster, Part, parts_of, simulate, step_seconds
from paddle_alexnet.system.limits import available_cores

CONV, FC = Part("conv", 1_000, 0.75, 500, False), Part("fc", 9_000, 0.25, 2_000, True)


def seconds(gpus=4, batch_size=10, link=1e6, network=1e6, latency=0.0, parts=(CONV, FC), **options):
    cluster = Cluster(link, network, per_machine=4, latency=latency)
    settings = {"gpus": gpus, "batch_size": batch_size, "image_seconds": 0.01, "cluster": cluster, **options}
    return step_seconds(parts, **settings)


def test_a_ring_sends_what_the_formula_says():
    """2 (N - 1) / N of the gradient's bytes each GPU, in 2 (N - 1) messages, over the slowest link."""
    cluster = Cluster(link=1e9, network=1e8, per_machine=4, latency=1e-3)
    assert cluster.all_reduce(1e9, 1) == 0
    assert cluster.all_reduce(1e9, 4) == pytest.approx(2 * 3 / 4 + 6e-3)
    assert cluster.all_reduce(1e9, 8) == pytest.approx(10 * 2 * 7 / 8 + 14e-3)


def test_simulate_one_gpu_or_many_with_fast_links_takes_the_time_of_one():
    for way in ("data", "weird trick"):
        assert seconds(gpus=1, way=way) == pytest.approx(0.1)
        assert seconds(gpus=64, link=1e18, network=1e18, way=way) == pytest.approx(0.1)


def test_a_step_by_hand():
    """0.1 s of arithmetic; 4 GPUs sum 40,000 bytes in 0.06 s, of which 0.054 are the linear layer's."""
    assert seconds(overlap=False) == pytest.approx(0.1 + 0.06)
    backward_of_fc = 0.1 / 3 + 0.25 * 0.2 / 3  # after which its gradient is sent; the convolution's takes 0.05 more
    assert seconds() == pytest.approx(backward_of_fc + 0.054 + 0.006)
    gathered = 3 / 4 * 4 * 10 * 2_000 * 4 / 1e6  # the linear layer's inputs, of all images, in and back
    assert seconds(way="weird trick") == pytest.approx(0.1 + 2 * gathered + 0.006)
    assert seconds(latency=0.001, overlap=False) == pytest.approx(0.16 + 2 * 6 * 0.001)


def test_the_paper_s_network_is_nearly_all_linear_in_weights_and_hardly_in_arithmetic():
    parts = parts_of("paper")
    assert sum(part.parameters for part in parts) == 60_965_224
    assert sum(part.share for part in parts) == pytest.approx(1)
    linear = [part for part in parts if part.linear]
    assert [part.inputs for part in linear] == [9216, 4096, 4096]
    assert sum(part.parameters for part in linear) / 60_965_224 > 0.95
    assert sum(part.share for part in linear) < 0.1


def test_the_weird_trick_pays_until_the_global_batch_is_large():
    """What it sends grows with the batch, what gradients take does not."""
    table = simulate("paper", gpus=(1, 8, 64), batch_size=64, images_per_second=2000, cluster=Cluster(3e9, 3e9))
    efficiency = table.set_index(["gpus", "way"])["efficiency"]
    assert efficiency[8, "weird trick"] > efficiency[8, "data"] > efficiency[64, "data"]
    assert efficiency[64, "data"] > efficiency[64, "weird trick"]
    assert efficiency[1, "data"] == pytest.approx(1)
    hours = table.set_index(["gpus", "way"])["hours"]
    assert hours[1, "data"] == pytest.approx(90 * 1_281_167 / 2000 / 3600)


def test_benchmark_scaling_prints_and_writes_its_table(tmp_path):
    place = tmp_path / "scaling.json"
    result = run_tool("benchmark", "scaling", "half", "--rate", 100, "--link", 10, "--json", place)
    assert result.returncode == 0, result.stderr
    assert "simulated, not measured" in result.stdout
    rows = json.loads(place.read_text())["simulated"]
    assert [row["gpus"] for row in rows] == [n for n in (1, 2, 4, 8, 16, 32, 64) for _ in range(2)]
    faster = run_tool("benchmark", "scaling", "half", "--rate", 100, "--link", 10, "--no-overlap")
    assert faster.stdout != result.stdout


@pytest.mark.parametrize(
    "words, part",
    [
        (["--link", "10"], "--rate"),
        (["--rate", "100"], "--link"),
        (["--rate", "0", "--link", "10"], "above 0"),
        (["--rate", "nan", "--link", "10"], "above 0"),
        (["alexnet", "--rate", "1", "--link", "1"], "unknown preset"),
    ],
)
def test_benchmark_scaling_with_wrong_options_is_a_user_error(words, part):
    assert_user_error(run_tool("benchmark", "scaling", *words), part)


@pytest.mark.slow
@pytest.mark.skipif(available_cores() < 2, reason="needs two cores")
def test_the_simulation_is_near_what_two_processes_take(tmp_path):
    """A step of 64 images of `half` that two processes share; docs/scaling.md says what one took beside them."""

    place = tmp_path / "two.json"
    command = ["-m", "paddle.distributed.launch", "--nproc_per_node", 2, "--backend", "gloo"]
    command += [
        "--log_dir",
        tmp_path / "log",
        REPOSITORY / "tests" / "support" / "two_processes.py",
        place,
        "half",
        32,
        3,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, *map(str, command)], env=environment, check=True, timeout=300)
    two = json.loads(place.read_text())
    bandwidth = two["parameters"] * 4 / two["all_reduce"]  # of two: 2 (N - 1) / N = 1
    simulated = step_seconds(
        parts_of("half"),
        gpus=2,
        batch_size=32,
        image_seconds=two["compute"] / 32,
        cluster=Cluster(bandwidth, bandwidth),
        overlap=False,  # the processor that sends is the one that computes
    )
    assert simulated == pytest.approx(two["step"], rel=0.5)  # a tenth off on a machine that does nothing else
