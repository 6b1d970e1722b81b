"""A model's folder: written in one step, read as one, while it is replaced too."""

import os
import shutil
import threading
from dataclasses import replace

import pytest
from helpers import file_contents, metadata_of

from paddle_alexnet import AlexNet, UserError
from paddle_alexnet.runs.model_folder import find_model, read_model, write_model
from paddle_alexnet.runs.resolve import resolve_model
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system import files
from paddle_alexnet.system.files import atomic_folder


@pytest.fixture(scope="module")
def metadata():
    return metadata_of(AlexNet("half", 3))


def of_epoch(metadata, epoch):
    return replace(metadata, origin=replace(metadata.origin, epoch=epoch))


def fill(content):
    return lambda folder: (folder / "a").write_text(content)


def test_a_failed_write_leaves_the_model_that_was_there(metadata, tmp_path):
    place = tmp_path / "model"
    write_model(place, metadata, fill("whole"))

    def fail(folder):
        (folder / "a").write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(UserError, match="untouched"):
        write_model(place, metadata, fail)
    assert read_model(place).files == {"a": b"whole"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_write_model_over_a_folder_that_is_no_model_raises(metadata, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not a model"):
        write_model(tmp_path, metadata, fill(""))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_model_of_another_kind_is_not_replaced_and_a_damaged_one_is(metadata, tmp_path):
    write_model(tmp_path / "model", metadata, fill("weights"))
    exported = replace(metadata, kind="inference")
    with pytest.raises(UserError, match="kind checkpoint, not inference"):
        write_model(tmp_path / "model", exported, fill("program"))
    assert read_model(tmp_path / "model").files == {"a": b"weights"}


def weights(content):
    return lambda folder: (folder / "weights.pdparams").write_text(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b'"classes"', b'"clbsses"'),
        lambda content: bytes(len(content)),
        lambda content: b"",
    ],
    ids=["cut", "flipped", "zeros", "empty"],
)
def test_a_damaged_model_is_replaced(damage, metadata, tmp_path):
    place = tmp_path / "model"
    write_model(place, metadata, weights("old"))
    (place / "metadata.json").write_bytes(damage((place / "metadata.json").read_bytes()))
    (place / ".DS_Store").touch()  # a file manager's
    write_model(place, metadata, weights("new"))
    assert read_model(place).files == {"weights.pdparams": b"new"}
    (place / "weights.pdparams").write_text("flipped")
    write_model(place, metadata, weights("newer"))
    assert sorted(path.name for path in place.iterdir()) == ["metadata.json", "weights.pdparams"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"title": "my photographs"}',
        b"[]",
        b"null",
        b"3",
        b"",
        b"\xff",
        b"[" * 10_000,
        b'{"sha256": {"diary.txt": "x"}}',
    ],
)
@pytest.mark.parametrize("beside", ["diary.txt", "model.json", ""])
def test_a_folder_with_somebody_else_s_metadata_is_left_alone(content, beside, metadata, tmp_path):
    (tmp_path / "mine").mkdir()
    for name in filter(None, ("metadata.json", beside)):
        (tmp_path / "mine" / name).write_bytes(content)
    before = file_contents(tmp_path)
    for aside in (False, True):
        with pytest.raises(UserError, match="mine: already exists and is not a model"):
            write_model(tmp_path / "mine", metadata, weights("new"), aside=aside)
    assert file_contents(tmp_path) == before


def put_file(folder):
    (folder / "diary.txt").write_text("mine")


def put_folder(folder):
    (folder / "more").mkdir()
    (folder / "more" / "diary.txt").write_text("mine")


@pytest.mark.parametrize("put", [put_file, put_folder])
@pytest.mark.parametrize("exchange", [True, False], ids=["exchanged", "renamed twice"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_model_s_folder_with_somebody_else_s_file_is_left_alone(
    put, exchange, when, metadata, tmp_path, monkeypatch, caplog
):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    place = tmp_path / "model"
    write_model(place, metadata, weights("old"))
    if when == "before":
        put(place)

    def fill(folder):
        weights("new")(folder)
        if when == "meanwhile":
            put(place)

    with pytest.raises(UserError, match=r"model: holds (diary.txt|more), which would be lost"):
        write_model(place, metadata, fill)
    assert read_model(place).files == {"weights.pdparams": b"old"}
    assert [path.read_text() for path in place.rglob("diary.txt")] == ["mine"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    write_model(place, metadata, weights("new"), aside=True)  # as a run, which must go on
    assert read_model(place).files == {"weights.pdparams": b"new"}
    assert [path.read_text() for path in tmp_path.glob("model.1/**/diary.txt")] == ["mine"]
    assert "kept as" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.1"]


def test_somebody_else_s_folder_called_old_is_left_alone(metadata, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    (tmp_path / ".model.old").mkdir()
    put_file(tmp_path / ".model.old")
    write_model(tmp_path / "model", metadata, weights("first"))
    with pytest.raises(UserError, match="old: already exists and is not a model"):
        write_model(tmp_path / "model", metadata, weights("second"))
    assert read_model(tmp_path / "model").files == {"weights.pdparams": b"first"}
    with atomic_folder(tmp_path / "set") as folder:
        (folder / "a").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.old", "model", "set"]
    assert (tmp_path / ".model.old" / "diary.txt").read_text() == "mine"


def test_a_run_whose_best_checkpoint_and_export_are_of_two_epochs_says_so(metadata, tmp_path, caplog):
    run = RunFolder(tmp_path / "a run")
    with run.begin():
        write_model(run.best, of_epoch(metadata, 7), fill(""))
        for epoch in (7, 6):
            write_model(run.inference, of_epoch(replace(metadata, kind="inference"), epoch), fill(""))
            for path in (run.path, run.best, run.inference, run.inference / "a", run.path / "inference"):
                resolve_model(path)
        assert not caplog.records, "a run that lives will write the other, too"
    write_model(run.last, of_epoch(metadata, 9), fill(""))
    resolve_model(run.last)
    assert not caplog.records
    for path in (run.path, run.best, run.inference, run.inference / "a"):
        caplog.clear()
        resolve_model(path)
        (message,) = caplog.messages
        assert "inference is of epoch 6, the best checkpoint of epoch 7" in message
        assert f"paddle-alexnet export '{run.path}'" in message


def test_a_path_means_a_run_a_model_or_a_file_in_one_from_wherever_one_stands(metadata, tmp_path, monkeypatch):
    best = tmp_path / "run" / "checkpoints" / "best"
    write_model(best, metadata, fill(""))
    for path in (tmp_path / "run", best, best / "a", best / "metadata.json"):
        assert find_model(path) == best
    monkeypatch.chdir(best)
    for path in (".", "a", "../best", "../.."):
        assert find_model(path) == best
    for path in ("nothing", "b" * 5000, "nul\0", "~nobody-of-that-name/run", tmp_path):
        with pytest.raises(UserError, match=r"model not found|is unreadable|is not a path|home folder not found"):
            find_model(path)


def test_a_flipped_byte_and_a_missing_file_are_found(metadata, tmp_path):
    place = tmp_path / "model"
    write_model(place, metadata, fill("whole"))
    (place / "a").write_text("whole".swapcase())
    with pytest.raises(UserError, match="a: is damaged"):
        read_model(place)
    (place / "a").unlink()
    with pytest.raises(UserError, match="a: file of the model not found"):
        read_model(place)


def test_links_and_pipes_are_not_followed(metadata, tmp_path):
    (tmp_path / "secret").write_text("whole")
    for name, make in (("link", lambda place: os.symlink(tmp_path / "secret", place)), ("pipe", os.mkfifo)):
        place = tmp_path / name
        write_model(place, metadata, fill("whole"))
        (place / "a").unlink()
        make(place / "a")
        with pytest.raises(UserError, match=f"{name}/a: "):
            read_model(place)


@pytest.mark.parametrize("exchange", [True, False], ids=["exchanged", "renamed twice"])
def test_read_model_beside_a_writer_reads_files_of_one_model(exchange, metadata, tmp_path, monkeypatch):
    """A file of 1 MB that repeats the epoch's number, replaced as fast as it goes while it is read."""
    if not exchange:  # as on NFS and macOS
        monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    place, stop, errors = tmp_path / "best", threading.Event(), []

    def write(epoch):
        content = str(epoch % 10) * 1_000_000
        write_model(place, of_epoch(metadata, epoch), fill(content))

    def write_on():
        epoch = 1
        try:
            while not stop.is_set():
                epoch += 1
                write(epoch)
        except UserError as error:
            errors.append(error)

    write(1)
    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        seen = set()
        for _ in range(60):
            model = read_model(place)
            seen.add(model.metadata.origin.epoch)
            assert set(model.files["a"].decode()) == {str(model.metadata.origin.epoch % 10)}
    finally:
        stop.set()
        writer.join()
    assert not errors
    assert len(seen) > 1


def test_between_the_two_renames_the_old_model_is_read_and_left_where_it_is(metadata, tmp_path):
    place = tmp_path / "best"
    write_model(place, metadata, fill("old"))
    place.rename(tmp_path / ".best.old")
    assert read_model(place).files == {"a": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == [".best.old"]
    write_model(place, metadata, fill("new"))
    assert read_model(place).files == {"a": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_copy_elsewhere_is_the_same_model(metadata, tmp_path):
    write_model(tmp_path / "model", metadata, fill("whole"))
    shutil.copytree(tmp_path / "model", tmp_path / "copy")
    assert read_model(tmp_path / "copy").metadata == read_model(tmp_path / "model").metadata
