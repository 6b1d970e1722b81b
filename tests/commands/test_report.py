"""report and compare, and what evaluate writes, as commands on a run that was trained."""

import csv
import json
import shutil

import pytest
from helpers import assert_user_error, run_tool, small_config
from rounding import LOSS

import paddle_alexnet
from paddle_alexnet.data.table import read_table
from paddle_alexnet.evaluation.classification import interval_text
from paddle_alexnet.report.run_summary import read_run


@pytest.fixture(scope="module")
def reported_run(demo_set, tmp_path_factory):
    """A run of one epoch that made its report itself."""
    output = tmp_path_factory.mktemp("runs") / "reported"
    return paddle_alexnet.train(small_config(demo_set, output, "train.epochs=1", "train.report=true")).output


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_training_ends_with_its_report(reported_run, demo_set):
    run = read_run(reported_run)
    assert run.validation.epoch == 1
    assert run.validation.loss == pytest.approx(run.best.val_loss, rel=LOSS)
    assert run.validation.top1 == run.best.val_top1
    assert run.environment["device"] == "cpu"
    table = read_table(demo_set)
    rows = rows_of(reported_run / "validation" / "predictions.csv")
    assert [row["filename"] for row in rows] == table.filenames[table.rows("val")].tolist()
    assert [row["label"] for row in rows] == [table.classes.names[n] for n in table.labels[table.rows("val")]]
    assert "Confusion matrix" in (reported_run / "report.html").read_text()


def test_a_run_without_a_report_gets_one(finished_run):
    assert not (finished_run.output / "report.html").exists()
    result = run_tool("report", finished_run.output)
    assert (result.returncode, result.stdout) == (0, f"wrote {finished_run.output / 'report.html'}\n")
    figures = finished_run.output / "validation" / "figures.json"
    assert json.loads(figures.read_text())["epoch"] == finished_run.best.epoch
    written = figures.stat().st_mtime_ns
    assert run_tool("report", finished_run.output).returncode == 0
    assert figures.stat().st_mtime_ns == written  # the model was not tried a second time


def test_runs_are_compared_in_the_terminal_and_on_a_page(reported_run, finished_run, tmp_path):
    result = run_tool("compare", reported_run, finished_run.output, "--output", tmp_path / "page.html")
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1][:4] == ["reported", "1", "of", "1"]
    assert ["train.epochs", "1", "2"] in lines
    assert (tmp_path / "page.html").read_text().count("<svg") == 4


def test_evaluate_shows_each_class_and_writes_what_it_found(finished_run, tmp_path):
    result = run_tool(
        "evaluate",
        finished_run.output,
        *("--split", "test", "--per-class", "--csv", tmp_path / "found.csv", "--confusion", tmp_path / "confusion.csv"),
    )
    assert result.returncode == 0, result.stderr
    rows, matrix = rows_of(tmp_path / "found.csv"), rows_of(tmp_path / "confusion.csv")
    assert len(rows) == 10
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert f"top1 {right / 10:.4f} ({interval_text(right / 10, 10)})" in result.stdout
    assert right == sum(int(row[row["label"]]) for row in matrix)
    shown = result.stdout.splitlines()
    assert shown[3].split() == ["label", "count", "precision", "recall", "f1", "class"]
    assert len(shown) == 4 + 10 + 2  # a line for each class, then what was written
    run_tool("evaluate", finished_run.output, "--confusion", tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_does_not_write_over_the_table_of_a_data_set(finished_run, demo_set):
    before = (demo_set / "labels.csv").read_bytes()
    result = run_tool("evaluate", finished_run.output, "--csv", demo_set / "labels.csv")
    assert_user_error(result, "labels.csv", "is the table of a data set")
    assert (demo_set / "labels.csv").read_bytes() == before


@pytest.mark.parametrize("line", ["x,1,1,1,1,1,1", "0,1,1,1,1,1,1", "1,[],1,1,1,1,1", "1", "9" * 5000])
def test_metrics_of_other_types_are_one_line(finished_run, tmp_path, line):
    run = shutil.copytree(finished_run.output, tmp_path / "run")
    (run / "metrics.csv").write_text(
        f"epoch,train_loss,train_top1,val_loss,val_top1,learning_rate,images_per_second,data\n{line}\n"
    )
    assert_user_error(run_tool("report", run), "metrics.csv: is damaged")


def test_report_commands_with_wrong_arguments_are_user_errors(finished_run, tmp_path):
    assert_user_error(run_tool("report", tmp_path), str(tmp_path), "is not a run")
    assert_user_error(run_tool("compare", finished_run.output), "two or more different runs")
    assert_user_error(run_tool("evaluate", finished_run.output, "--confusion", "matrix.jpg"), ".csv or .png")
