import pytest
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.plots.curves import draw_curves

HEADER = "epoch,train_loss,train_top1,val_loss,val_top1,learning_rate,images_per_second,improved,data\n"


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(HEADER + "1,2.5,0.1,2,0.25,0.1,9,True,photographs\n2,2,0.2,3,0.5,0.1,9,False,photographs\n")
    return path


def orange(picture):
    """How many pixels have the color of the validation split's curve."""
    with Image.open(picture) as image:
        return sum(count for count, color in image.convert("RGB").getcolors(1 << 20) if color == (255, 127, 14))


def test_curves_of_both_splits_are_drawn_and_the_best_epoch_is_marked(metrics, tmp_path):
    draw_curves(metrics, tmp_path / "curves.png")
    metrics.write_text(metrics.read_text().replace("True", "False"))
    draw_curves(metrics, tmp_path / "unmarked.png")
    assert orange(tmp_path / "curves.png") > orange(tmp_path / "unmarked.png") > 0


def test_an_epoch_without_a_finite_loss_is_drawn_too(metrics, tmp_path):
    metrics.write_text(HEADER + "1,2.5,0.1,nan,0.25,0.1,9,False,photographs\n")
    draw_curves(metrics, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_a_picture_that_cannot_be_written_is_one_line(metrics):
    with pytest.raises(UserError, match="cannot write it"):
        draw_curves(metrics, metrics / "curves.png")
