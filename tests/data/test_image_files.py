"""Which image files paths mean."""

from pathlib import Path

import pytest

from paddle_alexnet.data.image_files import find_images
from paddle_alexnet.system.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "sub/c.webp", "notes.txt", ".hidden.jpg", "._a.png", ".git/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_every_image_below_it_in_order_without_hidden_ones(folder):
    assert find_images([folder]) == [folder / "a.png", folder / "b.JPG", folder / "sub" / "c.webp"]


def test_a_file_is_itself_whatever_it_is_called(folder):
    assert find_images([folder / "notes.txt", folder / ".hidden.jpg"]) == [folder / "notes.txt", folder / ".hidden.jpg"]


def test_find_images_of_a_file_named_twice_lists_it_once(folder):
    assert find_images([folder / "b.JPG", folder, folder / "b.JPG"])[0] == folder / "b.JPG"
    assert len(find_images([folder / "b.JPG", folder, folder / "b.JPG"])) == 3


def test_find_images_of_a_missing_path_raises(folder):
    with pytest.raises(UserError, match="image or folder not found"):
        find_images([folder / "x.jpg"])
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="has no images"):
        find_images([folder / "empty"])
