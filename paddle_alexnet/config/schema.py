"""Settings of a run: the name, type, default, range and meaning of every key.

Recipes, dataclasses, functions and overrides spell a key the same. A new group of keys is a dataclass and a field of
`Config`.
"""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Callable, Literal, Optional, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from paddle_alexnet.config.choices import KERNELS, LRN_BACKENDS, check_color, one_of
from paddle_alexnet.system.device import check_device
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.limits import available_cores
from paddle_alexnet.system.user_path import user_path

# Validators are built at first use: `--help` needs none.
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


def _by(check: Callable[[Any], Any]) -> AfterValidator:
    """Return a validator from a check that returns the value to use or raises UserError."""

    def validate(value: Any) -> Any:
        try:
            return check(value)
        except UserError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(validate)


def _of_0_to_1(values: tuple[float, ...]) -> tuple[float, ...]:
    if not all(0 <= value <= 1 for value in values):
        raise UserError(f"{list(values)}: must be within 0..1, as pixels are scaled; divide values of 0..255 by 255")
    return values


def _check_rising(milestones: tuple[int, ...]) -> None:
    if list(milestones) != sorted(set(milestones)):
        raise ValueError(f"milestones {list(milestones)} must be in rising order")


PathText = Annotated[str, _by(lambda text: str(user_path(text)))]


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """The network and its initial weights."""

    preset: str = Field(default="paddle2", description="name of the network")
    lrn: Annotated[str, _by(lambda name: one_of(name, ("auto", *LRN_BACKENDS), what="LRN backend"))] = Field(
        default="auto",
        description=f"backend of local response normalization: auto (the fastest) or {', '.join(LRN_BACKENDS)}",
    )
    kernels: Annotated[str, _by(lambda name: one_of(name, ("auto", *KERNELS), what="kernels"))] = Field(
        default="auto",
        description="kernels of the layers on a CPU: compiled (see build-kernels), paddle or auto (compiled if built)",
    )
    quirks: tuple[str, ...] = Field(
        default=(),
        description="deviations of the original code to reproduce, by name, and ablations: no_overlap, no_dropout, "
        "one_column",
    )
    initialization: Literal["preset", "kmeans"] = Field(
        default="preset",
        description="initial weights: preset (random, by the preset's rule) or kmeans (k-means of training patches for "
        "convolutions, then each layer's output normalized; best with few images); ignored if weights is set",
    )
    weights: Optional[PathText] = Field(default=None, description="run or checkpoint to take the initial weights from")


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """The data set, preprocessing, augmentation and caching."""

    root: Optional[PathText] = Field(
        default=None, description="folder of images; null: ./data if it exists, else the embedded demo set"
    )
    csv: Optional[PathText] = Field(
        default=None,
        description="table with the columns filename, label and split (train, val, test); null: labels.csv in root",
    )
    classes: Optional[PathText] = Field(
        default=None,
        description="file with the class names in order, one per line; null: classes.txt beside the csv, else the "
        "sorted labels",
    )
    geometry: Literal["squash", "crop", "torchvision", "paddleclas", "random_resized_crop"] = Field(
        default="squash",
        description="part of the image that becomes the square patch: squash (the whole image), crop (the central "
        "square), torchvision or paddleclas (the central square, rounded to pixels as there) or random_resized_crop "
        "(in training a random part, as in torchvision; in evaluation as crop)",
    )
    crop_area: float = Field(
        default=0.08, gt=0, le=1, description="random_resized_crop: smallest part, as a fraction of the image's area"
    )
    resize: Optional[PositiveInt] = Field(
        default=None,
        description="side of the patch in pixels; the network's input is cropped from it, at random in training, at "
        "the center in evaluation; null: the network's input size, without cropping",
    )
    resample: Literal["nearest", "box", "bilinear", "bicubic", "lanczos", "opencv"] = Field(
        default="bilinear",
        description="resize filter: nearest, box, bilinear, bicubic or lanczos, as in Pillow, or opencv (OpenCV's "
        "bilinear without antialiasing, as in PaddleClas and Caffe)",
    )
    orientation: Literal["exif", "stored"] = Field(
        default="exif", description="exif: rotate images by their EXIF orientation; stored: do not"
    )
    draft: bool = Field(
        default=False,
        description="decode JPEG files at 1/2, 1/4 or 1/8 of their size if they are at least four times too large: "
        "about twice as fast, with a difference of about 1 level of 255, up to 18 at edges",
    )
    decoder: Literal["pillow", "simplejpeg"] = Field(
        default="pillow",
        description="JPEG decoder: pillow, or simplejpeg (extra `fast`): slightly faster, the same pixels, but "
        "stricter with damaged files",
    )
    decode_limit: PositiveInt = Field(
        default=512,
        description="largest decoded image in MB; larger JPEG files are decoded at a fraction of their size, other "
        "files are errors",
    )
    truncated: Literal["error", "accept"] = Field(
        default="error",
        description="truncated image files: error (unreadable) or accept (decode the available part, in training, "
        "evaluation and prediction)",
    )
    background: Optional[Annotated[str, _by(check_color)]] = Field(
        default=None,
        description="background color of transparent images, such as white or #ff8000; null: ignore transparency",
    )
    horizontal_flip: bool = Field(default=False, description="training: flip images with probability 0.5")
    color_jitter: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="training: multiply brightness, contrast and saturation by random factors within 1 ± this",
    )
    pca_noise: float = Field(
        default=0.0, ge=0, description="training: σ of the paper's noise along the principal components of color"
    )
    pca_scale: Literal["eigenvalues", "deviations"] = Field(
        default="eigenvalues",
        description="factor of pca_noise: eigenvalues (paper), or their square roots, deviations (code of 2012)",
    )
    pca_divisor: float = Field(
        default=1.0, gt=0, description="training: divisor of images with pca_noise, 1.1 in the code of 2012"
    )
    pca_epochs: int = Field(default=0, ge=0, description="training: number of epochs with pca_noise; 0: all")
    shared_crops: int = Field(
        default=1, ge=1, description="training: consecutive images that share crop and flip, 32 in the code of 2012"
    )
    random_erasing: float = Field(
        default=0.0, ge=0, le=1, description="training: probability of erasing a random rectangle"
    )
    mixup: float = Field(
        default=0.0, ge=0, description="training: α of mixup, a blend of pairs of images and labels; 0: off"
    )
    normalize: Literal["given", "channel", "pixel", "pixel_at_crop"] = Field(
        default="given",
        description="normalization: given (data.mean and data.std), channel (mean and std of the train split), pixel "
        "(center of the train split's mean image, and data.std) or pixel_at_crop (as pixel, but a random crop uses "
        "the same crop of the mean image)",
    )
    mean: Annotated[tuple[float, float, float], _by(_of_0_to_1)] = Field(
        default=(0.485, 0.456, 0.406), description="mean to subtract, RGB, for pixels in 0..1"
    )
    std: Annotated[tuple[PositiveFloat, PositiveFloat, PositiveFloat], _by(_of_0_to_1)] = Field(
        default=(0.229, 0.224, 0.225), description="standard deviation to divide by, RGB, for pixels in 0..1"
    )
    verify: bool = Field(default=True, description="decode every image once before the first step")
    fault_limit: int = Field(
        default=0, ge=0, description="number of unreadable images that a run skips with a warning; more are an error"
    )
    cache: Literal["none", "ram", "disk"] = Field(
        default="none", description="cache of decoded patches: none, ram (for this run) or disk (for later runs too)"
    )
    cache_folder: Optional[PathText] = Field(
        default=None, description="folder for statistics and decoded patches; null: the folder cache beside output"
    )
    workers: int = Field(
        default=min(available_cores(), 256),
        ge=1,
        le=256,
        description="number of threads that decode and transform images; by default the number of cores",
    )


@dataclass(frozen=True, config=_STRICT)
class ParameterGroup:
    """Settings of some parameters that differ from the rest; None is the setting of the rest."""

    parameters: str  # pattern of names, such as conv1.weight, *.bias or fc*
    learning_rate: Optional[PositiveFloat] = None  # initial
    follows_schedule: bool = True  # else the rate is constant until the first milestone
    milestones: tuple[PositiveInt, ...] = ()  # epochs after which the rate is the next of `rates`
    rates: tuple[NonNegativeFloat, ...] = ()
    weight_decay: Optional[NonNegativeFloat] = None

    def __post_init__(self) -> None:
        _check_rising(self.milestones)
        if len(self.milestones) != len(self.rates):
            raise ValueError(f"{self.parameters}: milestones and rates must have the same length")


@dataclass(frozen=True, config=_STRICT)
class OptimizerConfig:
    """The optimizer and its parameter groups."""

    name: Literal["adam", "adamw", "momentum", "momentum_2012", "sgd"] = Field(
        default="adam",
        description="update rule: adam, adamw (decoupled weight decay), momentum (the learning rate multiplies the "
        "velocity), momentum_2012 (the learning rate is part of the velocity, as in 2012 and in Caffe) or sgd",
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="initial learning rate, after any warm-up")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of momentum and momentum_2012")
    weight_decay: float = Field(
        default=0.0, ge=0, description="L2 weight decay, added to the gradient; decoupled with adamw"
    )
    decay_biases: bool = Field(default=True, description="apply the weight decay to biases too")
    bias_learning_rate: float = Field(
        default=1.0, gt=0, description="learning rate of biases, as a multiple of learning_rate"
    )
    clip_norm: float = Field(default=0.0, ge=0, description="largest global norm of the gradients; 0: no clipping")
    groups: tuple[ParameterGroup, ...] = Field(
        default=(),
        description="parameter groups, the last match wins: a list of {parameters: PATTERN such as conv1.weight or "
        "*.bias, learning_rate, follows_schedule (false: constant rate), milestones (epochs after which the rate is "
        "the next of rates), rates, weight_decay}",
    )


@dataclass(frozen=True, config=_STRICT)
class ScheduleConfig:
    """The learning-rate schedule."""

    name: Literal["constant", "step", "cosine", "plateau"] = Field(
        default="constant",
        description="learning-rate schedule: constant, step, cosine (to 0 at the end of train.epochs) or plateau",
    )
    per: Literal["epoch", "step"] = Field(
        default="epoch", description="unit of rate changes and milestones: epoch or step"
    )
    warmup_epochs: int = Field(default=0, ge=0, description="epochs of linear warm-up to the initial learning rate")
    milestones: tuple[PositiveInt, ...] = Field(
        default=(), description="step: epochs (with per=step: steps) after which the rate is multiplied by factor"
    )
    factor: float = Field(default=0.1, gt=0, lt=1, description="step and plateau: multiplier of the rate")
    patience: int = Field(
        default=2,
        ge=0,
        description="plateau: tolerated epochs in a row without a better validation loss; the next one lowers the "
        "rate, as in PyTorch's ReduceLROnPlateau",
    )

    def __post_init__(self) -> None:
        _check_rising(self.milestones)
        if (self.name == "step") != bool(self.milestones):
            raise ValueError("name=step and milestones require each other; set both or neither")
        if self.name == "plateau" and (self.warmup_epochs or self.per == "step"):
            raise ValueError("name=plateau requires per=epoch and warmup_epochs=0; set both")


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """The training loop and its outputs."""

    epochs: int = Field(default=10, ge=1, description="number of epochs")
    batch_size: int = Field(default=32, ge=1, description="images per step")
    accumulate: int = Field(
        default=1,
        ge=1,
        description="batches whose gradients are averaged for one update, equivalent to one larger batch",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="random seed of weights, augmentation, dropout and the order of images"
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of each label that is spread over all classes in training"
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay, such as 0.999, of an exponential moving average of the weights, which is evaluated and "
        "exported; 0: none",
    )
    amp: Literal["none", "O1", "O2"] = Field(
        default="none",
        description="mixed precision on a GPU: none, O1 (float16 if it is safe) or O2 (float16 except the update)",
    )
    cudnn_search: bool = Field(
        default=False,
        description="on a GPU: let cuDNN time its algorithms for each convolution and use the fastest; results may "
        "differ between runs",
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="early stopping after this many epochs in a row without a better validation loss; 0: off",
    )
    report: bool = Field(
        default=True, description="at the end, predict the val split with the best model and write report.html"
    )
    checkpoint_steps: int = Field(
        default=0, ge=0, description="steps between checkpoints to resume from, besides those after epochs; 0: none"
    )
    keep_checkpoints: int = Field(default=1, ge=1, description="number of newest checkpoints to keep")


@dataclass(frozen=True, config=_STRICT)
class Config:
    """The settings of a run, frozen; `load_config` builds it, `dataclasses.replace` derives another from it."""

    output: PathText = Field(default="runs/alexnet", description="run folder; an earlier run in it is kept")
    device: Annotated[str, _by(check_device)] = Field(
        default="auto", description="device: auto (the first GPU, else the CPU), cpu or gpu:N"
    )
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


def describe_keys() -> str:
    """Return the help text of all keys: default and meaning, two lines each."""
    lines = []
    for key, entry in all_keys(Config):
        lines.append(f"  {key}={json.dumps(entry.default.default)}\n        {entry.default.description}")
    return "\n".join(lines)


def all_keys(cls: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key of a config class with its dataclass field, without the groups themselves."""
    hints = get_type_hints(cls)
    for entry in fields(cls):
        if is_dataclass(hints[entry.name]):
            yield from all_keys(hints[entry.name], f"{prefix}{entry.name}.")
        else:
            yield prefix + entry.name, entry


@cache
def key_types() -> dict[str, Any]:
    """Return the type of every key."""
    groups = get_type_hints(Config)
    types = {}
    for key, entry in all_keys(Config):
        group, _, _ = key.rpartition(".")
        types[key] = get_type_hints(groups[group] if group else Config)[entry.name]
    return types
