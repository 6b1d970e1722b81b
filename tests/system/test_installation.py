"""What the doctor says about a machine: everything that it looks at is given, and nothing is installed for it."""

import os
import subprocess

import pytest

from paddle_alexnet.system import installation
from paddle_alexnet.system.installation import (
    Check,
    check_extras,
    check_folders,
    check_gpu,
    check_libraries,
    check_packages,
    check_paddle,
    check_python,
    check_threads,
    compute,
    format_checks,
    graphics_cards,
    installed_versions,
)

SOUND = {"paddlepaddle": "2.6.2", "numpy": "2.2.6", "pandas": "3.1.1", "protobuf": "6.33.6", "setuptools": "65.5.0"}
ON_GPU = {"paddlepaddle-gpu": "2.6.2", "numpy": "2.2.6"}
A100 = {"name": "NVIDIA A100", "driver": "535.104.05", "capability": "8.0"}


@pytest.fixture(autouse=True)
def requirements(monkeypatch):
    texts = ["numpy<2.3,>=2.0.2", "pandas", 'ruamel.yaml>=0.18; extra == "other"', 'torch; extra == "torch"']
    monkeypatch.setattr(installation, "_requirements", lambda: texts)


def faults(checks) -> list[Check]:
    checks = list(checks)
    assert all(check.remedy for check in checks if check.state == "fault"), "every fault has a remedy"
    return [check for check in checks if check.state == "fault"]


def test_checks_of_sound_versions_have_no_fault():
    assert installed_versions()["numpy"]
    assert faults(check_paddle(SOUND)) == faults(check_packages(SOUND)) == []
    assert faults(check_python((3, 9))) == faults(check_python((3, 12))) == []


@pytest.mark.parametrize(
    "versions, part, remedy",
    [
        ({"numpy": "2.3.0"}, "numpy 2.3.0 with Paddle 2", "numpy>=2.0.2,<2.3"),
        ({"numpy": "2.4.1", "paddlepaddle": "3.3.1"}, "numpy 2.4.1 with Paddle 3", "numpy>=2.0.2,<2.3"),
        ({"numpy": "1.26.4"}, "too old for pandas 3.1.1", "numpy>=2.0.2,<2.3"),
        ({"protobuf": "7.0.0rc1"}, "protobuf 7.0.0rc1 with Paddle 2", "protobuf<7"),
        ({"setuptools": "85.0.1"}, "setuptools 85.0.1", "setuptools<85"),
        ({"paddle2onnx": "2.1.0"}, "paddle2onnx 2.1.0", "paddle2onnx==1.3.1"),
        (
            {"nvidia-cudnn-cu11": "8.6", "nvidia-cudnn-cu12": "9.1"},
            "overwrite each other",
            "uninstall -y nvidia-cudnn-cu12",
        ),
    ],
)
def test_each_known_clash_is_a_fault_with_its_remedy(versions, part, remedy):
    [fault] = faults(check_packages({**SOUND, **versions}))
    assert part in fault.detail and remedy in fault.remedy


def test_check_packages_reports_a_clash_only_of_versions_that_clash():
    assert faults(check_packages({**SOUND, "paddlepaddle": "3.3.1", "numpy": "2.3.0", "protobuf": "7.0"})) == []
    assert any("TensorFlow" in check.detail for check in check_packages({**SOUND, "tensorflow": "2.21.0"}))
    [fault] = faults(check_packages({"paddlepaddle": "2.6.2", "numpy": "2.2.6"}))
    assert "not installed: pandas" in fault.detail and fault.remedy.endswith("install pandas")


@pytest.mark.parametrize(
    "versions, part",
    [
        ({}, "not installed"),
        ({"paddlepaddle": "2.5.2"}, "2.6.2 or 3 is required"),
        ({"paddlepaddle": "2.6.2", "paddlepaddle-gpu": "2.6.2"}, "both installed"),
    ],
)
def test_paddle_that_is_not_there_too_old_or_there_twice(versions, part):
    [fault] = faults(check_paddle(versions))
    assert part in fault.detail


def test_a_python_without_a_wheel_of_paddle():
    assert len(faults(check_python((3, 13)))) == len(faults(check_python((3, 8)))) == 1


def test_check_gpu_reports_missing_packages_and_unsupported_gpus():
    assert [check.state for check in check_gpu(None, SOUND)] == ["fine"]
    assert [check.state for check in check_gpu([], ON_GPU)] == ["note"]
    assert [check.state for check in check_gpu([A100], ON_GPU)] == ["fine"]
    [_, note] = check_gpu([A100], SOUND)
    assert note.state == "note" and '"paddle-alexnet[gpu]"' in note.remedy
    [fault] = faults(check_gpu([{**A100, "driver": "418.87.00"}], ON_GPU))
    assert "418.87.00 is too old" in fault.detail


def test_a_gpu_that_paddle_has_no_code_for_is_a_fault(monkeypatch):
    said = {(9, 0): "capability 9.0, code for 8.6 alone"}
    monkeypatch.setattr(installation.cuda_code, "explain_unsupported", lambda capability: said.get(capability, ""))
    [fault] = faults(check_gpu([A100, {**A100, "name": "NVIDIA H100", "capability": "9.0"}], ON_GPU))
    assert fault.detail == "gpu:1: capability 9.0, code for 8.6 alone"
    assert not faults(check_gpu([A100], ON_GPU)) + faults(check_gpu([{**A100, "capability": "[N/A]"}], ON_GPU))


def test_missing_cuda_libraries_are_a_fault_where_there_is_a_gpu(monkeypatch):
    monkeypatch.setattr(installation.cuda_libraries, "find_missing", lambda: ["libcudnn.so", "libnccl.so"])
    [fault] = faults(check_libraries([A100], ON_GPU))
    assert "libcudnn.so not found" in fault.detail and '"paddle-alexnet[gpu]"' in fault.remedy
    assert len(faults(check_libraries([A100, A100], ON_GPU))) == 2
    assert faults(check_libraries(None, ON_GPU)) == faults(check_libraries([A100], SOUND)) == []
    assert not any("CUDA" in check.detail for check in check_libraries([A100], {"paddlepaddle-gpu": "3.3.1"}))


def test_little_shared_memory_is_a_note(monkeypatch):
    usage = installation.shutil.disk_usage(os.sep)
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda path: usage._replace(total=64 << 20))
    [note] = check_libraries(None, SOUND)
    assert note.state == "note" and "67 MB" in note.detail and "--shm-size" in note.remedy


@pytest.mark.parametrize(
    "threads, state, part",
    [
        (None, "fine", "usable cores: 4 of 8"),
        ("4", "fine", "with 4 threads"),
        ("1", "note", "other cores are idle"),
        ("9", "note", "compete for cores"),
        ("2,1", "note", "other cores are idle"),
        ("all", "fault", "not a number"),
    ],
)
def test_threads_beside_cores(threads, state, part):
    environment = {} if threads is None else {"OMP_NUM_THREADS": threads}
    [check] = check_threads(environment, 4, machine=8)
    assert check.state == state and part in check.detail


def test_folders_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    assert [check.state for check in check_folders(tmp_path)] == ["fine", "fine"]
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert [check.state for check in check_folders(file)] == ["note", "note"]


def test_extras_are_told_apart():
    details = [check.detail for check in check_extras({**SOUND, "ruamel-yaml": "0.19"})]
    assert "extras: other" in details
    assert any("not installed: torch (torch)" in detail for detail in details)


def test_the_cards_are_what_nvidia_smi_lists(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    assert graphics_cards() is None
    program.write_text("#!/bin/sh\necho 'NVIDIA A100, 535.104.05, 8.0'\n")
    program.chmod(0o755)
    assert graphics_cards() == [A100]
    program.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    assert graphics_cards() is None


@pytest.mark.parametrize(
    "code, error, said",
    [
        (0, "", "computes on cpu"),
        (1, "Traceback\nImportError: libfoo", "ImportError: libfoo"),
        (-11, "", "signal 11"),
    ],
)
def test_a_paddle_that_does_not_compute_is_a_fault(monkeypatch, code, error, said):
    monkeypatch.setattr(
        subprocess, "run", lambda *words, **options: subprocess.CompletedProcess(words, code, "", error)
    )
    [check] = compute(None, SOUND)
    assert said in check.detail
    assert (check.state == "fault") == bool(code)


def test_a_report_has_a_line_a_check_its_remedy_and_a_count():
    text = format_checks([Check("fine", "Python"), Check("fault", "numpy", "pip install numpy"), Check("note", "gpu")])
    assert text.splitlines() == [
        "fine   Python",
        "fault  numpy",
        "       -> pip install numpy",
        "note   gpu",
        "1 fault",
    ]
    assert format_checks([]).endswith("no faults")
