"""Writing in one step or not at all: whatever happens, the old content or the new one is there, whole."""

import errno
import os
import pickle
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers import REPOSITORY

from paddle_alexnet.config.recipe import find_recipe
from paddle_alexnet.data.table import check_there
from paddle_alexnet.datasets.prepare.sources import find_classes
from paddle_alexnet.report.run_summary import read_run
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system import files
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import (
    atomic_file,
    atomic_folder,
    copy_file,
    copy_into,
    growing_csv,
    read_small,
    write_csv,
    write_text,
)
from paddle_alexnet.system.user_path import UserPath, user_path
from paddle_alexnet.training.resume import find_state


def own(folder: Path) -> set[str]:
    """The files that these tests write in a folder."""
    return {"a", "old", "new"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def writer_that_sleeps(folder: Path) -> "subprocess.Popen[str]":
    """A process that holds a half-written file and folder for `place` and `set`."""
    code = """
import sys, time
from pathlib import Path
from paddle_alexnet.system.files import atomic_file, atomic_folder
with atomic_file(Path("place")) as file, atomic_folder(Path("set")) as folder:
    file.write_text("half")
    (folder / "a").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=folder, env=environment
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    place = tmp_path / "deep" / "file.txt"
    with atomic_file(place) as partial:
        partial.write_text("new")
        assert partial.parent == place.parent and not place.exists()
    assert place.read_text() == "new"
    assert names(place.parent) == ["file.txt"]


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    with atomic_folder(tmp_path / "set") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "a").write_text("new")
        assert not (tmp_path / "set").exists()
    assert (tmp_path / "set" / "deep" / "a").read_text() == "new"
    assert names(tmp_path) == ["set"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_the_old_content_and_nothing_beside_it(tmp_path, error):
    (tmp_path / "file").write_text("old")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_text("old")
    with pytest.raises(error), atomic_file(tmp_path / "file") as partial:
        partial.write_text("half")
        raise error
    with pytest.raises(error), atomic_folder(tmp_path / "set", replace=own) as partial:
        (partial / "a").write_text("half")
        raise error
    assert (tmp_path / "file").read_text() == (tmp_path / "set" / "a").read_text() == "old"
    assert names(tmp_path) == ["file", "set"]


def test_a_full_disk_is_one_line_and_the_old_content_stays(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"file: cannot write it \(.*No space left.*untouched"):
        write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_partial_files_of_a_killed_writer_are_removed_and_of_a_live_one_kept(tmp_path):
    with writer_that_sleeps(tmp_path) as child:
        half = [name for name in names(tmp_path) if name.endswith(".partial")]
        assert len(half) == 2
        write_text(tmp_path / "place", "other")
        with atomic_folder(tmp_path / "set") as partial:
            (partial / "a").write_text("other")
        assert names(tmp_path) == sorted([*half, "place", "set"])  # it lives: its work is kept
        child.kill()
    write_text(tmp_path / "place", "next")
    assert not (tmp_path / half[0]).exists()
    with atomic_folder(tmp_path / "set", replace=own) as partial:
        (partial / "a").write_text("next")
    assert names(tmp_path) == ["place", "set"]
    assert (tmp_path / "place").read_text() == (tmp_path / "set" / "a").read_text() == "next"


def test_only_what_a_writer_of_the_same_place_left_is_removed(tmp_path):
    others = [".place.partial", ".place.0123456.partial", ".places.01234567.partial", "place.01234567.partial"]
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".place.01234567.partial").write_text("left behind")
    write_text(tmp_path / "place", "new")
    assert names(tmp_path) == sorted([*others, "place"])


def test_concurrent_writers_leave_the_work_of_one_of_them(tmp_path):
    texts = [str(number) * 10_000 for number in range(8)]
    errors = []

    def write(text: str) -> None:
        try:
            for _ in range(10):
                write_text(tmp_path / "file", text)
                with atomic_folder(tmp_path / "set", replace=own) as partial:
                    (partial / "a").write_text(text)
                assert (tmp_path / "file").read_text() in texts
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (tmp_path / "set" / "a").read_text() in texts
    assert names(tmp_path) == ["file", "set"]


def test_the_second_of_two_writers_of_a_new_folder_does_not_replace_the_first_s(tmp_path):
    with pytest.raises(UserError, match="not empty"), atomic_folder(tmp_path / "set") as second:
        (second / "a").write_text("second")
        with atomic_folder(tmp_path / "set") as first:
            (first / "a").write_text("first")
    assert (tmp_path / "set" / "a").read_text() == "first"
    assert names(tmp_path) == ["set"]


def test_a_reader_always_finds_a_whole_folder(tmp_path):
    if not files._exchange(tmp_path, tmp_path):
        pytest.skip("this system cannot exchange two folders")
    with atomic_folder(tmp_path / "set") as partial:
        (partial / "a").write_text("0")
    done = threading.Event()
    seen = []

    def read() -> None:
        while not done.is_set():
            seen.append((tmp_path / "set").is_dir())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(50):
        with atomic_folder(tmp_path / "set", replace=own) as partial:
            (partial / "a").write_text(str(number))
    done.set()
    reader.join()
    assert seen and all(seen)


def test_without_an_exchange_of_folders_the_new_one_takes_its_place_too(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "set", replace=own) as partial:
            (partial / text).write_text(text)
    assert names(tmp_path / "set") == ["new"]
    assert names(tmp_path) == ["set"]


def test_a_process_that_died_between_two_renames_loses_nothing(tmp_path):
    (tmp_path / ".set.old").mkdir()
    (tmp_path / ".set.old" / "a").write_text("old")
    with pytest.raises(ValueError), atomic_folder(tmp_path / "set", replace=own):
        raise ValueError
    assert (tmp_path / "set" / "a").read_text() == "old"


def test_a_folder_with_something_in_it_is_not_replaced_unasked(tmp_path):
    (tmp_path / "set").mkdir()
    with atomic_folder(tmp_path / "set") as partial:  # an empty one is
        (partial / "a").write_text("first")
    with pytest.raises(UserError, match="exists and is not empty"), atomic_folder(tmp_path / "set"):
        pass
    assert (tmp_path / "set" / "a").read_text() == "first"


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "file").read_text() == "new"
    assert names(tmp_path / "far") == ["file"]


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "through")
    reader.join()
    assert got == ["through"]
    assert names(tmp_path) == ["pipe"]


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(UserError, match="is a folder; name a file"):
        write_text(tmp_path, "text")


def test_a_csv_is_written_with_quotes_where_they_are_needed(tmp_path):
    write_csv(tmp_path / "t.csv", ["a", "b"], [["1, 2", 'say "x"'], ["ü", None]])
    assert (tmp_path / "t.csv").read_bytes() == 'a,b\n"1, 2","say ""x"""\nü,\n'.encode()
    with pytest.raises(UserError, match="cannot write it"):
        write_csv(tmp_path / "t.csv", ["a"], [["caf\udce9"]])
    assert (tmp_path / "t.csv").read_text().startswith("a,b\n")


def test_user_path_expands_a_leading_tilde_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/home/a")
    assert user_path("~/x") == Path("/home/a/x")
    assert user_path("x/~/y") == Path("x/~/y")
    for text in ("", "a\0b", "~no-such-user/x"):
        with pytest.raises(UserError):
            user_path(text)


def test_only_a_regular_file_of_bounded_size_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_small(tmp_path / "file", at_most=5) == b"12345"
    os.mkfifo(tmp_path / "pipe")
    for path, at_most in ((tmp_path / "file", 4), (tmp_path, 9), (tmp_path / "pipe", 9), (Path("/dev/zero"), 9)):
        with pytest.raises(OSError):
            read_small(path, at_most=at_most)


def test_a_growing_file_holds_its_lines_as_they_come(tmp_path):
    with growing_csv(tmp_path / "t.csv", ["a", "b"]) as add:
        add([1, "x\ny"])
        [partial] = tmp_path.iterdir()
        assert partial.read_text() == 'a,b\n1,"x\ny"\n'
        assert not (tmp_path / "t.csv").exists()
    assert names(tmp_path) == ["t.csv"]


def test_a_copy_replaces_nothing(tmp_path):
    (tmp_path / "a.png").write_text("one")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.png").write_text("two")
    folder = tmp_path / "into" / "it"
    for source, target in (("a.png", "a.png"), ("b/a.png", "a-2.png"), ("a.png", "a.png"), ("b/a.png", "a-2.png")):
        assert copy_into(tmp_path / source, folder) == folder / target
        assert (folder / target).read_bytes() == (tmp_path / source).read_bytes()
    (folder / "a-2.png").unlink()
    (folder / "a-2.png").symlink_to(tmp_path / "nowhere")
    assert copy_into(tmp_path / "b" / "a.png", folder) == folder / "a-3.png"
    assert names(folder) == ["a-2.png", "a-3.png", "a.png"]
    with pytest.raises(UserError, match=r"cannot copy a\.png there"):
        copy_into(tmp_path / "a.png", tmp_path / "a.png" / "below")


def test_copy_into_without_hard_links_copies_the_bytes(tmp_path, monkeypatch):
    def refuse(*paths):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a.png").write_text("one")
    assert copy_into(tmp_path / "a.png", tmp_path / "into").read_text() == "one"
    assert names(tmp_path / "into") == ["a.png"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EIO])
def test_a_folder_whose_sync_is_refused_is_no_fault_and_one_whose_sync_fails_is_told(tmp_path, monkeypatch, number):
    """CIFS, VirtualBox and FUSE refuse to sync a folder; a disk may fail to."""
    sync = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", fsync)
    if number == errno.EIO:
        with pytest.raises(UserError, match="file: is written, but the disk may lose it") as error:
            write_text(tmp_path / "file", "new")
        assert "untouched" not in str(error.value)
    else:
        write_text(tmp_path / "file", "new")
        for text in ("old", "new"):
            with atomic_folder(tmp_path / "set", replace=own) as folder:
                (folder / "a").write_text(text)
        assert (tmp_path / "set" / "a").read_text() == "new"
    assert (tmp_path / "file").read_text() == "new"


def test_a_device_is_not_said_to_be_untouched():
    with pytest.raises(UserError, match="/dev/full: cannot write it") as error:
        write_text(Path("/dev/full"), "text")
    assert "untouched" not in str(error.value)


def test_an_older_folder_is_put_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    with atomic_folder(tmp_path / "set") as folder:
        (folder / "a").write_text("old")
    rename = Path.rename

    def fail(path, target):
        if path.name.endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UserError, match="untouched"), atomic_folder(tmp_path / "set", replace=own) as folder:
        (folder / "a").write_text("new")
    assert (tmp_path / "set" / "a").read_text() == "old"
    assert names(tmp_path) == ["set"]


def test_a_path_that_cannot_be_looked_at_is_one_line(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in map(UserPath, (tmp_path / ("a" * 256), tmp_path / "loop", tmp_path / "loop" / "a", "a\0b")):
        for look in (UserPath.exists, UserPath.is_file, UserPath.is_dir, list_folder, write_text_to, fill_folder):
            with pytest.raises(UserError, match="is unreadable"):
                look(path)
    here, file = UserPath(tmp_path), UserPath(__file__)
    assert not (here / "none").exists() and not (file / "below").exists()
    assert here.is_dir() and not here.is_file() and file.is_file()
    assert [path.name for path in (here / "loop").resolve().parents[0].iterdir()] == ["loop"]
    assert names(tmp_path) == ["loop"]


def list_folder(place):
    list(place.iterdir())


def write_text_to(place):
    write_text(place, "")


def fill_folder(place):
    with atomic_folder(place, replace=own):
        pass


def test_a_copy_of_a_file_is_independent(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(os.urandom(100_000))
    copy_file(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(os, "copy_file_range", refuse_to_copy, raising=False)
    copy_file(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()
    assert len({(tmp_path / name).stat().st_ino for name in "abc"}) == 3


def refuse_to_copy(*arguments):
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes another user, which takes root")
def test_a_folder_without_permission_is_one_line(tmp_path):
    closed = tmp_path / "closed"
    (closed / "a").mkdir(parents=True)
    closed.chmod(0o700)
    looks = [UserPath.exists, UserPath.is_file, UserPath.is_dir, list_folder, write_text_to, fill_folder]
    looks += [check_there, find_classes, find_recipe, read_run, RunFolder.check, RunFolder.is_run, find_state]
    os.seteuid(65534)
    try:
        for look in looks:
            for path in (UserPath(closed) / "a", UserPath(closed) / "a" / "b"):
                with pytest.raises(UserError):
                    look(RunFolder(path) if look in (RunFolder.check, RunFolder.is_run) else path)
    finally:
        os.seteuid(0)


def test_a_path_of_a_user_keeps_its_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = user_path("a")
    path.mkdir()
    others = [path / "b", path.parent, path.absolute(), path.resolve(), path.with_name("c")]
    (path / "b").touch()
    assert {type(each) for each in [*others, *path.iterdir(), *path.glob("*")]} == {UserPath}
    assert path.resolve() == tmp_path / "a" and pickle.loads(pickle.dumps(path)) == Path("a")
