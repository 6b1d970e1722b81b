"""serve as a command: what it says before it serves, and how its process ends."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from helpers import REPOSITORY, assert_user_error, metadata_of, run_tool
from planted import red_and_green

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import save_checkpoint

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "checkpoint"
    save_checkpoint(place, *red_and_green())
    return place


def test_serve_without_its_packages_names_the_extra(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert_user_error(run_tool("serve", model), "fastapi", 'pip install "paddle-alexnet[serve]"')


def test_serve_with_wrong_arguments_is_a_user_error(model, tmp_path):
    pytest.importorskip("fastapi", reason="the service needs the extra [serve]")
    assert_user_error(run_tool("serve", tmp_path), "model not found")
    assert_user_error(run_tool("serve", model, "--port", 70000), "70000", "exceeds 65535")
    assert_user_error(run_tool("serve", model, "--waiting", 0), "--waiting", "1 or more")


@pytest.mark.parametrize("host, warned", [("127.0.0.1", False), ("0.0.0.0", True)])
def test_serve_prints_its_address_and_warns_if_others_can_reach_it(model, monkeypatch, host, warned):
    server = pytest.importorskip("paddle_alexnet.service.server", reason="the service needs the extra [serve]")
    served = []

    def run(self, sockets):
        served.append((self.config.app, sockets[0].getsockname()))
        self._started()

    monkeypatch.setattr(server.Server, "run", run)
    result = run_tool("serve", model, "--host", host, "--port", 0, "--device", "cpu")
    assert result.returncode == 0, result.stderr
    ((_, (address, port)),) = served
    assert f"serving at http://{address}:{port}/ (Ctrl-C stops)" in result.stdout
    assert ("without a password" in result.stdout) is warned


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_process(tmp_path, number, code):
    pytest.importorskip("fastapi", reason="the service needs the extra [serve]")
    network = AlexNet("small", 3)
    save_checkpoint(tmp_path / "model", network, metadata_of(network))
    command = [sys.executable, "-m", "paddle_alexnet", "serve", str(tmp_path / "model"), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        lines = [process.stdout.readline(), process.stdout.readline()]
        address = lines[1].split()[2]
        with urllib.request.urlopen(f"{address}health", timeout=20) as answer:
            assert answer.status == 200
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors.splitlines()[-1] in ("terminated", "interrupted")
    assert "Traceback" not in errors
