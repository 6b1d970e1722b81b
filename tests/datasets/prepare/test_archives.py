"""ILSVRC-2012's archives: read as they are, and refused where they are cut, compressed or made to hurt."""

import gzip
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from helpers import make_tar, make_train_tar, picture

from paddle_alexnet.datasets.prepare.archives import find_archive, from_archive, list_tar
from paddle_alexnet.system.errors import UserError

HOUND, WOLF = "n02091244", "n02114548"


def member(name: str, data: bytes = b"", **fields: object) -> bytes:
    """A member with a header that says what it is told to."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    padding = bytes(-len(data) % 512)
    return info.tobuf(tarfile.GNU_FORMAT) + data + padding


def test_files_and_where_their_bytes_are(tmp_path):
    data = {"a.JPEG": picture("a"), "deep/folder/b.JPEG": picture("b"), "empty.txt": b"", "x" * 150 + ".png": b"long"}
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        with tarfile.open(tmp_path / "x.tar", "w", format=kind) as tar:
            for name, content in data.items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), 1.5
                if kind != tarfile.USTAR_FORMAT or len(name) < 100:
                    tar.addfile(info, io.BytesIO(content))
        content = (tmp_path / "x.tar").read_bytes()
        found = {name: content[start : start + size] for name, (start, size) in list_tar(tmp_path / "x.tar")}
        expected = {Path(name).name: content for name, content in data.items()}
        assert found == {name: expected[name] for name in found} and len(found) >= 3


def test_a_tar_of_gnu_tar(tmp_path):
    (tmp_path / "one.JPEG").write_bytes(picture("one"))
    subprocess.run(["tar", "cf", "x.tar", "one.JPEG"], cwd=tmp_path, check=True)
    content = (tmp_path / "x.tar").read_bytes()
    assert [(name, content[start : start + size]) for name, (start, size) in list_tar(tmp_path / "x.tar")] == [
        ("one.JPEG", picture("one"))
    ]


BAD = {
    "negative size": (member("a.JPEG", size=-512), "no header|is not a number"),
    "base-256 negative": (member("a.JPEG", size=-(1 << 70)), "is not a number|no header"),
    "size beyond its end": (member("a.JPEG", picture("a"), size=1 << 33), "extends past its end"),
    "sparse": (member("a.JPEG", type=b"S"), "sparse"),
    "symbolic link": (member("a.JPEG", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "'a.JPEG' in it is a link"),
    "hard link": (member("a.JPEG", type=tarfile.LNKTYPE, linkname="b"), "is a link"),
    "endless long name": (member("a", bytes(70_000), type=b"L"), "name is too long"),
    "broken extended header": (member("a", b"12 path", type=b"x"), "extended header is damaged|invalid"),
    "negative extended size": (member("a", b"11 size=-5\n", type=b"x") + member("a.JPEG"), "is not a number"),
    "sparse in pax": (member("a", b"25 GNU.sparse.major=1234\n", type=b"x") + member("a.JPEG"), "sparse"),
    "no tar": (b"text" * 512, "is not a number"),
    "no tar either": (bytes(148) + b"0" * 364, "byte 0 begins no header"),
    "empty": (b"", "ends before its end mark"),
}


@pytest.mark.parametrize("case", BAD)
def test_members_that_cannot_be_believed(tmp_path, case):
    data, message = BAD[case]
    (tmp_path / "x.tar").write_bytes(data + (bytes(1024) if data else b""))
    with pytest.raises(UserError, match=f"must be a complete, plain tar: .*({message})"):
        list(list_tar(tmp_path / "x.tar"))


def test_every_cut_is_seen(tmp_path):
    make_tar(tmp_path / "x.tar", {f"{i}.JPEG": picture(str(i)) for i in range(3)})
    whole = (tmp_path / "x.tar").read_bytes()
    end = whole.rstrip(b"\0")
    mark = -(-len(end) // 512) * 512
    assert len(list(list_tar(tmp_path / "x.tar"))) == 3
    for length in range(mark + 511, 0, -73):  # in headers, in files and just after them
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut.tar: must be a complete, plain tar: .*download it again"):
            list(list_tar(tmp_path / "cut.tar"))


def test_damaged_class_archive_is_named(tmp_path):
    make_tar(tmp_path / "class.tar", {f"{HOUND}_{i}.JPEG": picture(str(i)) for i in range(9)})
    whole = (tmp_path / "class.tar").read_bytes()
    inner = {f"{HOUND}.tar": whole[: 4 * 512], f"{WOLF}.tar": whole}
    make_tar(tmp_path / "ILSVRC2012_img_train.tar", inner)
    found = from_archive(tmp_path / "ILSVRC2012_img_train.tar")
    assert len(list(found.classes[WOLF])) == 9
    with pytest.raises(UserError, match="download it again"):
        list(found.classes[HOUND])


def test_compressed_archives_are_told_apart(tmp_path):
    train = make_train_tar(tmp_path, [HOUND, WOLF], 2)
    packed = tmp_path / "packed.tar"
    packed.write_bytes(gzip.compress(train.read_bytes()))
    for path in (packed, packed.rename(tmp_path / "packed.tar.gz")):
        if not path.exists():
            continue
        assert find_archive(path) == path
        with pytest.raises(UserError, match="compressed; gunzip it first"):
            from_archive(path)


def test_validation_archive_without_labels_is_told(tmp_path):
    train = make_train_tar(tmp_path, [HOUND, WOLF], 2)
    make_tar(tmp_path / "ILSVRC2012_img_val.tar", {"ILSVRC2012_val_00000001.JPEG": picture("x")})
    found = from_archive(train)
    assert {record.split for record in found.classes[HOUND]} == {None}
    [note] = found.notes
    assert note.startswith("left out: ILSVRC2012_img_val.tar, because it has no list of labels")


def test_fewer_images_than_labels_and_other_files_are_told(tmp_path):
    train = make_train_tar(tmp_path, [HOUND, WOLF], 2)
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 5)]
    files = {name: picture(name) for name in names[:2]}
    make_tar(tmp_path / "ILSVRC2012_img_val.tar", {**files, "._" + names[0]: b"", "readme.txt": b""})
    (tmp_path / "val.txt").write_text("".join(f"{name} {HOUND}\n" for name in names))
    found = from_archive(train)
    assert [record.split for record in found.classes[HOUND]] == ["train"] * 2 + ["val"] * 2
    assert found.notes == [
        "left out: 2 files in ILSVRC2012_img_val.tar without an image suffix",
        "ILSVRC2012_img_val.tar has 2 of the 4 images that val.txt lists",
    ]
