"""Every setting, typed: name, default, range and meaning.

A key is spelled the same in a recipe's YAML, in the dataclass, in the function that takes it and in an override
`key.sub=value`. A new group of keys is a dataclass below and a line in `Config`.
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

# Built at first use: to ask for help needs none of it.
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


def _by(check: Callable[[Any], Any]) -> AfterValidator:
    """A validator that calls a check which returns the value to use, or raises UserError."""

    def validate(value: Any) -> Any:
        try:
            return check(value)
        except UserError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(validate)


def _of_0_to_1(values: tuple[float, ...]) -> tuple[float, ...]:
    if not all(0 <= value <= 1 for value in values):
        raise UserError(f"{list(values)}: pixels are scaled to 0..1 first; divide what is of 0..255 by 255")
    return values


def _check_rising(milestones: tuple[int, ...]) -> None:
    if list(milestones) != sorted(set(milestones)):
        raise ValueError(f"milestones {list(milestones)} must be in rising order")


PathText = Annotated[str, _by(lambda text: str(user_path(text)))]


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    preset: str = Field(default="paddle2", description="network: the name of a preset")
    lrn: Annotated[str, _by(lambda name: one_of(name, ("auto", *LRN_BACKENDS), what="LRN backend"))] = Field(
        default="auto",
        description=f"backend of local response normalization: auto (the fastest), {', '.join(LRN_BACKENDS)}",
    )
    kernels: Annotated[str, _by(lambda name: one_of(name, ("auto", *KERNELS), what="kernels"))] = Field(
        default="auto",
        description="what computes the layers on a CPU: compiled (see build-kernels), paddle, or auto (compiled where "
        "they are built)",
    )
    quirks: tuple[str, ...] = Field(
        default=(),
        description="departures of the original article's code to reproduce, by name, and ablations: no_overlap, "
        "no_dropout, one_column",
    )
    initialization: Literal["preset", "kmeans"] = Field(
        default="preset",
        description="first weights: preset (drawn as the preset says) or kmeans (convolutions' filters found among "
        "patches of the training images, each layer scaled to them, without Krähenbühl's balancing between layers: "
        "best where images are few); ignored where weights is set",
    )
    weights: Optional[PathText] = Field(default=None, description="start from the weights of this run or checkpoint")


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    root: Optional[PathText] = Field(
        default=None, description="folder of images; null: ./data if it is there, else the embedded demo set"
    )
    csv: Optional[PathText] = Field(
        default=None, description="table with filename, label, split (train, val, test); null: labels.csv in root"
    )
    classes: Optional[PathText] = Field(
        default=None,
        description="class list in order, one a line; null: classes.txt beside the csv, else its sorted labels",
    )
    geometry: Literal["squash", "crop", "torchvision", "paddleclas", "random_resized_crop"] = Field(
        default="squash",
        description="what becomes the square patch: squash (the whole image), crop (its central square), torchvision "
        "or paddleclas (that square, in the whole pixels that each of them takes) or random_resized_crop "
        "(a random part in training, as in torchvision, and the central square of crop in evaluation)",
    )
    crop_area: float = Field(
        default=0.08, gt=0, le=1, description="random_resized_crop: the smallest part, as a share of the image's area"
    )
    resize: Optional[PositiveInt] = Field(
        default=None,
        description="side of the patch that the network's input is cropped from, at random in training, in the center "
        "in evaluation; null: the network's own, so that nothing is cropped off",
    )
    resample: Literal["nearest", "box", "bilinear", "bicubic", "lanczos", "opencv"] = Field(
        default="bilinear",
        description="filter by which images are resized: nearest, box, bilinear, bicubic, lanczos, as Pillow has them, "
        "or opencv (OpenCV's bilinear, as in PaddleClas and Caffe: it skips pixels where it reduces)",
    )
    orientation: Literal["exif", "stored"] = Field(
        default="exif", description="exif: images are turned as their EXIF data asks; stored: they are not"
    )
    draft: bool = Field(
        default=False,
        description="decode JPEG files that are at least four times too large at a half, a quarter or an eighth: about "
        "twice as fast, about 1 level of 255 off, up to 18 at edges",
    )
    decoder: Literal["pillow", "simplejpeg"] = Field(
        default="pillow",
        description="what decodes JPEG files: pillow, or simplejpeg (extra `fast`), a little faster: the same pixels, "
        "but damage that Pillow passes over makes an image unreadable",
    )
    decode_limit: PositiveInt = Field(
        default=512,
        description="megabytes that the pixels of an image may take; JPEG files that take more are decoded at a "
        "fraction, other files are errors",
    )
    truncated: Literal["error", "accept"] = Field(
        default="error",
        description="image files that end too early: error (unreadable), or accept (decoded as far as they go, in "
        "training, evaluation and prediction alike)",
    )
    background: Optional[Annotated[str, _by(check_color)]] = Field(
        default=None,
        description="color under transparent images, such as white or #ff8000; null: their transparency is dropped, "
        "and the colors below it show",
    )
    horizontal_flip: bool = Field(default=False, description="training: flip half of the images left to right")
    color_jitter: float = Field(
        default=0.0, ge=0, le=1, description="training: brightness, contrast, saturation times 1 ± up to this"
    )
    pca_noise: float = Field(
        default=0.0, ge=0, description="training: σ of the paper's noise along the principal components of color"
    )
    pca_scale: Literal["eigenvalues", "deviations"] = Field(
        default="eigenvalues",
        description="what that σ multiplies: eigenvalues (the paper) or their roots, deviations (the code of 2012)",
    )
    pca_divisor: float = Field(
        default=1.0, gt=0, description="training: what images with that noise are divided by, 1.1 in the code of 2012"
    )
    pca_epochs: int = Field(
        default=0, ge=0, description="training: epochs after which there is no such noise; 0: never"
    )
    shared_crops: int = Field(
        default=1, ge=1, description="training: images in a row that share crop and flip, 32 in the code of 2012"
    )
    random_erasing: float = Field(
        default=0.0, ge=0, le=1, description="training: probability of erasing a random rectangle"
    )
    mixup: float = Field(
        default=0.0, ge=0, description="training: α of mixup, which blends pairs of images and labels; 0: off"
    )
    normalize: Literal["given", "channel", "pixel", "pixel_at_crop"] = Field(
        default="given",
        description="given: by mean and std below; channel: by both as measured on the train split; pixel: by the "
        "center of its mean image and the std below; pixel_at_crop: so too, but a random crop by the same crop of it",
    )
    mean: Annotated[tuple[float, float, float], _by(_of_0_to_1)] = Field(
        default=(0.485, 0.456, 0.406), description="subtracted, RGB, of values in 0..1"
    )
    std: Annotated[tuple[PositiveFloat, PositiveFloat, PositiveFloat], _by(_of_0_to_1)] = Field(
        default=(0.229, 0.224, 0.225), description="divided by, RGB, after the mean, of values in 0..1 too"
    )
    verify: bool = Field(default=True, description="decode every image once before the first step")
    fault_limit: int = Field(
        default=0, ge=0, description="unreadable images that a run reports and skips; one more is an error"
    )
    cache: Literal["none", "ram", "disk"] = Field(
        default="none", description="keep decoded patches: none, ram (this run's) or disk (later runs' too)"
    )
    cache_folder: Optional[PathText] = Field(
        default=None, description="where measured statistics and decoded patches are kept; null: cache beside output"
    )
    workers: int = Field(
        default=min(available_cores(), 256),
        ge=1,
        le=256,
        description="threads that decode and transform images; by default as many as there are cores",
    )


@dataclass(frozen=True, config=_STRICT)
class ParameterGroup:
    """What is otherwise for some parameters; of what is None they have what the rest has."""

    parameters: str  # their names, such as conv1.weight, *.bias or fc*
    learning_rate: Optional[PositiveFloat] = None  # at the start
    follows_schedule: bool = True  # the rate falls with that of the rest; else it stays
    milestones: tuple[
        PositiveInt, ...
    ] = ()  # epochs after which the rate is the next of `rates`, whatever the schedule
    rates: tuple[NonNegativeFloat, ...] = ()
    weight_decay: Optional[NonNegativeFloat] = None

    def __post_init__(self) -> None:
        _check_rising(self.milestones)
        if len(self.milestones) != len(self.rates):
            raise ValueError(f"{self.parameters}: milestones and rates must be as many of each")


@dataclass(frozen=True, config=_STRICT)
class OptimizerConfig:
    name: Literal["adam", "adamw", "momentum", "momentum_2012", "sgd"] = Field(
        default="adam",
        description="update rule: adam, adamw (its decay apart from the gradient), momentum (the learning rate "
        "multiplies the velocity), momentum_2012 (it is in the velocity, as in 2012 and in Caffe) or sgd",
    )
    learning_rate: float = Field(
        default=1e-4, gt=0, description="initial learning rate, after a warm-up if there is one"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="for momentum and momentum_2012")
    weight_decay: float = Field(
        default=0.0, ge=0, description="L2 decay added to the gradient; with adamw the share of rate × weight taken off"
    )
    decay_biases: bool = Field(default=True, description="whether the decay applies to biases too")
    bias_learning_rate: float = Field(default=1.0, gt=0, description="the biases' learning rate as a multiple")
    clip_norm: float = Field(
        default=0.0, ge=0, description="gradients longer than this, all as one vector, are shortened to it; 0: none"
    )
    groups: tuple[ParameterGroup, ...] = Field(
        default=(),
        description="parameters with rules of their own, a later one having the last word: a list of {parameters: "
        "NAMES such as conv1.weight or *.bias, learning_rate, follows_schedule: false where the rate stays, "
        "milestones: epochs after which it is the next of rates, rates, weight_decay}",
    )


@dataclass(frozen=True, config=_STRICT)
class ScheduleConfig:
    name: Literal["constant", "step", "cosine", "plateau"] = Field(
        default="constant",
        description="learning rate over the run: constant, step, cosine (to 0 at the end of train.epochs) or plateau",
    )
    per: Literal["epoch", "step"] = Field(
        default="epoch", description="when the rate changes: after an epoch or after a step; milestones count the same"
    )
    warmup_epochs: int = Field(default=0, ge=0, description="epochs in which the rate rises evenly to the initial one")
    milestones: tuple[PositiveInt, ...] = Field(
        default=(), description="step: epochs, or with per=step steps, after which the rate is multiplied"
    )
    factor: float = Field(default=0.1, gt=0, lt=1, description="step and plateau: multiplier")
    patience: int = Field(
        default=2,
        ge=0,
        description="plateau: epochs in a row without a better validation loss that are tolerated; the next one lowers "
        "the rate, as in PyTorch's ReduceLROnPlateau",
    )

    def __post_init__(self) -> None:
        _check_rising(self.milestones)
        if (self.name == "step") != bool(self.milestones):
            raise ValueError("name step and milestones go together: set both or neither")
        if self.name == "plateau" and (self.warmup_epochs or self.per == "step"):
            raise ValueError("name plateau goes by the validation loss of epochs: with per epoch and no warm-up")


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    epochs: int = Field(default=10, ge=1, description="passes over the training split")
    batch_size: int = Field(default=32, ge=1, description="images in a step")
    accumulate: int = Field(
        default=1,
        ge=1,
        description="batches whose gradients are averaged for an update: as one batch so many times as large",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="of weights, dropout and the order of images")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of each label that is spread evenly over all classes in training"
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay per update of an exponential moving average of the weights, which is then what is "
        "evaluated and exported, such as 0.999; 0: none",
    )
    amp: Literal["none", "O1", "O2"] = Field(
        default="none",
        description="mixed precision on a GPU: O1 (float16 where it is safe) or O2 (float16 but for the update)",
    )
    cudnn_search: bool = Field(
        default=False,
        description="on a GPU: time cuDNN's algorithms for each convolution when it is first met and take the fastest, "
        "which may be another one in another run, and round otherwise",
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="stop after so many epochs without a better validation loss, the last of them included; 0: never",
    )
    report: bool = Field(
        default=True, description="at the end, predict the val split with the best model and write report.html"
    )
    checkpoint_steps: int = Field(
        default=0, ge=0, description="save the run's state every so many steps too, to go on from; 0: after epochs only"
    )
    keep_checkpoints: int = Field(default=1, ge=1, description="how many of the run's newest states are kept")


@dataclass(frozen=True, config=_STRICT)
class Config:
    """Every setting of a run, typed and frozen; `load_config` makes one, and `dataclasses.replace` another from it."""

    output: PathText = Field(default="runs/alexnet", description="folder of the run; an earlier run in it is kept")
    device: Annotated[str, _by(check_device)] = Field(
        default="auto", description="auto (the first GPU, else CPU), cpu or gpu:N"
    )
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


def describe_keys() -> str:
    """Every key with its default and meaning, two lines each, to be shown as help."""
    lines = []
    for key, entry in all_keys(Config):
        lines.append(f"  {key}={json.dumps(entry.default.default)}\n        {entry.default.description}")
    return "\n".join(lines)


def all_keys(cls: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key with its field; groups of keys are walked, not named."""
    hints = get_type_hints(cls)
    for entry in fields(cls):
        if is_dataclass(hints[entry.name]):
            yield from all_keys(hints[entry.name], f"{prefix}{entry.name}.")
        else:
            yield prefix + entry.name, entry


@cache
def key_types() -> dict[str, Any]:
    """The type of every key."""
    groups = get_type_hints(Config)
    types = {}
    for key, entry in all_keys(Config):
        group, _, _ = key.rpartition(".")
        types[key] = get_type_hints(groups[group] if group else Config)[entry.name]
    return types
