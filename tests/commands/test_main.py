"""The command line as a whole: subcommands, help, exit codes, and what does not wait for Paddle."""

import json
import subprocess
import sys

import pytest
from helpers import REPOSITORY, assert_user_error, run_process, run_tool

import paddle_alexnet
from paddle_alexnet import load_config
from paddle_alexnet.commands import process, recipes
from paddle_alexnet.commands.main import SUBCOMMANDS, main
from paddle_alexnet.system.errors import UserError

NOT_THERE = "/nowhere/at/all"
QUICK = [
    *([subcommand, "--help"] for subcommand in SUBCOMMANDS),
    ["benchmark", "network", "--help"],
    ["recipes"],
    ["doctor"],
    ["train", "-o", "train.epoch=1"],
    ["train", "-o", f"data.root={NOT_THERE}"],
    ["train", "-o", f"data.csv={NOT_THERE}"],
    ["train", "-o", f"model.weights={NOT_THERE}"],
    ["train", "-c", NOT_THERE],
    ["evaluate", NOT_THERE],
    ["predict", NOT_THERE, "image.jpg"],
    ["explain", NOT_THERE, "image.jpg"],
    ["export", NOT_THERE],
    ["serve", NOT_THERE],
    ["inspect-data", NOT_THERE],
    ["prepare-data", "--source", NOT_THERE, "--output", "out"],
    ["convert-weights", NOT_THERE, "out"],
    ["summary", "paddle3"],
    ["benchmark", "network", "paddle3"],
    ["benchmark", "loader", NOT_THERE],
]


def test_help_and_early_errors_answer_without_paddle():
    code = (
        "import json, sys; from paddle_alexnet.commands.main import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    code = main(words)\n"
        "    slow = [name for name in ('paddle', 'pandas', 'matplotlib') if name in sys.modules]\n"
        "    print('ANSWER', json.dumps([words, code, slow]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps(QUICK)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    answers = [json.loads(line[7:]) for line in result.stdout.splitlines() if line.startswith("ANSWER ")]
    for words, code, slow in answers:
        assert (words, code, slow) == (words, 0 if words[-1] in ("--help", "recipes", "doctor") else 2, [])
    assert [words for words, _, _ in answers] == QUICK
    errors = result.stderr.splitlines()
    assert len(errors) == sum(code == 2 for _, code, _ in answers)
    assert all(line.startswith("error: ") for line in errors)


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_help_of_a_subcommand_exits_with_zero(subcommand):
    result = run_tool(subcommand, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"usage: paddle-alexnet {subcommand}" in result.stdout


def test_an_unknown_subcommand_is_one_line_with_a_guess_only_if_one_is_near():
    assert_user_error(run_tool("trian"), "'trian'", "did you mean 'train'")
    far = run_tool("qqq")
    assert_user_error(far, "unknown subcommand 'qqq'; choose one of: train, evaluate")
    assert "did you mean" not in far.stderr
    assert run_tool("--help").stdout.count("\n  ") >= len(SUBCOMMANDS)


@pytest.mark.parametrize(
    "error, code, line",
    [
        (UserError("a file\nis missing\x1b[2J"), 2, "error: a file is missing [2J\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (process._Terminated(), 143, "terminated\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_main_after_an_exception_prints_a_line_and_returns_its_exit_code(monkeypatch, error, code, line):
    def run(arguments):
        raise error

    monkeypatch.setattr(recipes, "run", run)
    result = run_tool("recipes")
    assert (result.returncode, result.stderr, result.stdout) == (code, line, "")


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setattr(recipes, "run", lambda arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["recipes"])


@pytest.mark.parametrize(
    ("program", "subcommand"),
    [(["-m", "paddle_alexnet"], "summary"), (["tools/train.py"], "train"), (["tools/export.py"], "export")],
)
def test_module_and_script_of_a_checkout_fail_as_the_command_does(program, subcommand):
    expected = run_tool(subcommand, "--nonsense", "half")
    assert expected.returncode == 2
    words = [*program, *([subcommand] if "-m" in program else []), "--nonsense", "half"]
    result = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert (result.returncode, result.stderr) == (2, expected.stderr)


def test_tools_has_a_script_for_each_subcommand_that_a_checkout_is_used_with():
    scripts = {path.stem.replace("_", "-") for path in (REPOSITORY / "tools").glob("[a-z]*.py")}
    assert scripts | {"recipes", "completion", "help"} >= set(SUBCOMMANDS)
    assert scripts <= set(SUBCOMMANDS)


@pytest.mark.parametrize(
    "device, meant", [("cuda", "gpu:0"), ("CUDA:1", "gpu:1"), ("gpu", "gpu:0"), ("cpu:0", "cpu"), ("foo", "auto")]
)
@pytest.mark.parametrize("subcommand", ["evaluate", "predict", "benchmark network"])
def test_a_wrong_device_is_one_line_that_says_what_is_meant(subcommand, device, meant):
    words = [*subcommand.split(), "a", "b"][: 3 if subcommand == "predict" else 2]
    assert_user_error(run_tool(*words, "--device", device), "auto, cpu, gpu:N", f"write {meant}")
    assert_user_error(run_tool("train", "-o", f"device={device}"), "auto, cpu, gpu:N", f"write {meant}")


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_user_error(run_tool("export", "~/run"), str(tmp_path / "run"))
    assert_user_error(run_tool("train", "-o", "data.root=~/set"), str(tmp_path / "set"))
    assert_user_error(run_tool("export", "~no-such-user/run"), "~no-such-user")


def test_help_names_every_preset_and_every_lrn_backend():
    from paddle_alexnet.config.choices import LRN_BACKENDS
    from paddle_alexnet.network.lrn import BACKENDS
    from paddle_alexnet.network.presets import PRESETS

    assert set(LRN_BACKENDS) == set(BACKENDS)
    for words in (["train"], ["summary"], ["benchmark", "network"]):
        text = " ".join(run_tool(*words, "--help").stdout.split())
        assert all(backend in text for backend in LRN_BACKENDS)
    assert ", ".join(PRESETS) in " ".join(run_tool("train", "--help").stdout.split())


def test_recipes_are_listed_with_a_line_each():
    lines = run_tool("recipes").stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in (REPOSITORY / "configs").glob("*.yaml"))
    assert all(line.endswith(".") and len(line) <= 120 for line in lines)


def test_output_that_is_not_utf8_shows_what_it_can(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = run_process("benchmark", "network", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "BACKEND[,BACKEND?]" in result.stdout


def test_a_reader_that_has_read_enough_ends_the_command_quietly():
    command = [sys.executable, "-m", "paddle_alexnet", "recipes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY) as child:
        child.stdout.close()
        errors = child.stderr.read()
    assert (child.returncode, errors) == (141, b"")


def test_help_without_a_subcommand_and_of_a_subcommand_and_the_version(capsys):
    shown = run_tool("--help")
    assert shown.stdout.count("\n  ") >= len(SUBCOMMANDS)
    assert main([]) == 0
    assert capsys.readouterr().out == shown.stdout
    assert run_tool("help").stdout == shown.stdout
    assert run_tool("help", "export").stdout == run_tool("export", "--help").stdout
    assert_user_error(run_tool("help", "exprot"), "did you mean 'export'")
    assert run_tool("--version").stdout == f"paddle-alexnet {paddle_alexnet.__version__}\n"


@pytest.mark.parametrize(
    "words, remedy",
    [
        ("train --epochs 5", "write -o train.epochs=5"),
        ("train --data photos", "write -o data.root=photos"),
        ("train --lr=0.1 --batch-size 8", "write -o optimizer.learning_rate=0.1 -o train.batch_size=8"),
        ("train --output x --device cpu", "write -o output=x -o device=cpu"),
        ("train photos --seed 3", "write -o train.seed=3"),
        ("train --arch half --pretrained a", "write -o model.preset=half -o model.weights=a"),
        ("train --optimizer adam --weight-decay 1e-4", "-o optimizer.name=adam -o optimizer.weight_decay=1e-4"),
        ("train --num_workers 4 -b 3", "write -o data.workers=4 -o train.batch_size=3"),
        ("train --epoch", "write -o train.epochs=VALUE"),
        ("train --epochs 2 --foo", "write -o train.epochs=2; `paddle-alexnet train --help` lists the keys"),
        ("train --num-classes 5", "`paddle-alexnet train --help` lists the keys"),
        ("ablate --seed 5", "write -o train.seed=5"),
        ("benchmark network --lr 3", "write -o optimizer.learning_rate=3"),
        ("evaluate x --epochs 5", "unrecognized arguments: --epochs"),
    ],
)
def test_an_option_of_another_program_names_the_setting_that_it_means(words, remedy):
    assert_user_error(run_tool(*words.split()), remedy)


def test_a_folder_is_the_data_set(demo_set, tmp_path, finished_run):
    for words, said in [
        ([tmp_path / "none"], f"{tmp_path / 'none'}: image folder not found"),
        ([demo_set, "-o", f"data.root={demo_set}"], "data.root or data.csv names images too"),
        ([finished_run.output], f"use --resume {finished_run.output}"),
        (["half.yaml"], "use -c half.yaml"),
        (["labels.csv"], "use -o data.csv=labels.csv"),
    ]:
        assert_user_error(run_tool("train", *words), said)
    small = [
        "model.preset=small",
        "train.epochs=2",
        "train.batch_size=30",
        "train.report=false",
        f"output={tmp_path / 'run'}",
    ]
    done = run_tool("--quiet", "train", demo_set, "-c", "demo", *(word for key in small for word in ("-o", key)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "trained on embedded demo set"
    assert "epoch 1/2" not in done.stdout and "next: " not in done.stdout
    assert load_config(tmp_path / "run" / "config.yaml").data.root == str(demo_set)


def test_weights_without_images_are_refused_at_once(finished_run, tmp_path):
    result = run_tool("train", "-o", f"model.weights={finished_run.output}", cwd=tmp_path)
    assert_user_error(result, "requires images to train on; add -o data.root=FOLDER")
    assert (result.stdout, list(tmp_path.iterdir())) == ("", [])


def test_a_shell_completes_subcommands_options_and_presets(tmp_path):
    pytest.importorskip("shtab", reason='shtab is not installed: pip install -e ".[completion]"')
    script = tmp_path / "completion.bash"
    script.write_text(run_tool("completion", "bash").stdout)
    asking = (
        f"source {script}; for line in 'pre' 'train --re' 'benchmark ne' 'export --to ' 'train {REPOSITORY}/conf'; do "
        'COMP_WORDS=(paddle-alexnet $line); [ "${line% }" = "$line" ] || COMP_WORDS+=(""); '
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _shtab_paddle_alexnet; echo ${COMPREPLY[*]}; done"
    )
    done = subprocess.run(["bash", "-c", asking], capture_output=True, text=True, check=True)
    expected = ["predict prepare-data", "--resume", "network", "paddle onnx all", str(REPOSITORY / "configs")]
    assert done.stdout.splitlines() == expected


def test_completion_without_its_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert_user_error(run_tool("completion", "zsh"), 'pip install "paddle-alexnet[completion]"')
