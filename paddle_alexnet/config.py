"""Typed settings: the ground floor. One YAML file is one complete recipe.

A key is spelled the same in the YAML file, in the dataclass, in the function that takes it and in an override
`key.sub=value`. A new group of keys is a dataclass below and a line in `Config`.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Callable, Literal, Optional, get_args, get_origin, get_type_hints
from unicodedata import category

from pydantic import AfterValidator, ConfigDict, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from paddle_alexnet.cores import available_cores
from paddle_alexnet.device import check_device
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import read_small, user_path, write_text
from paddle_alexnet.names import LRN_BACKENDS, one_of

LARGEST_RECIPE = 100_000  # bytes; and characters of a value
DEEPEST = 5  # collections within collections

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


PathText = Annotated[str, _by(lambda text: str(user_path(text)))]


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    preset: str = Field(default="paddle2", description="network: the name of a preset")
    lrn: Annotated[str, _by(lambda name: one_of(name, ("auto", *LRN_BACKENDS), what="LRN backend"))] = Field(
        default="auto",
        description=f"backend of local response normalisation: auto (the fastest), {', '.join(LRN_BACKENDS)}",
    )
    quirks: tuple[str, ...] = Field(
        default=(), description="departures of the original article's code to reproduce, by name"
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
    geometry: Literal["squash", "crop", "random_resized_crop"] = Field(
        default="squash",
        description="what becomes the square patch: squash (the whole image), crop (its central square) or "
        "random_resized_crop (a random part in training, the central square in evaluation)",
    )
    resize: Optional[PositiveInt] = Field(
        default=None,
        description="side of the patch that the network's input is cropped from, at random in training, in the centre "
        "in evaluation; null: the network's own, so that nothing is cropped off",
    )
    resample: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = Field(
        default="bilinear", description="filter by which images are resized: nearest, box, bilinear, bicubic or lanczos"
    )
    orientation: Literal["exif", "stored"] = Field(
        default="exif", description="exif: images are turned as their EXIF data asks; stored: they are not"
    )
    draft: bool = Field(
        default=False,
        description="decode JPEG files that are at least four times too large at a half, a quarter or an eighth: up to "
        "4 times as fast, up to 4 levels of 255 off",
    )
    decode_limit: PositiveInt = Field(
        default=512,
        description="megabytes that the pixels of an image may take; JPEG files that take more are decoded at a "
        "fraction, other files are errors",
    )
    horizontal_flip: bool = Field(default=False, description="training: flip half of the images left to right")
    colour_jitter: float = Field(
        default=0.0, ge=0, le=1, description="training: brightness, contrast, saturation times 1 ± up to this"
    )
    pca_noise: float = Field(
        default=0.0, ge=0, description="training: σ of the paper's noise along the principal components of colour"
    )
    pca_scale: Literal["eigenvalues", "deviations"] = Field(
        default="eigenvalues",
        description="what that σ multiplies: eigenvalues (the paper) or their roots, deviations (the code of 2012)",
    )
    random_erasing: float = Field(
        default=0.0, ge=0, le=1, description="training: probability of erasing a random rectangle"
    )
    mixup: float = Field(
        default=0.0, ge=0, description="training: α of mixup, which blends pairs of images and labels; 0: off"
    )
    normalise: Literal["given", "channel", "pixel", "pixel_at_crop"] = Field(
        default="given",
        description="given: by mean and std below; channel: by both as measured on the train split; pixel: by the "
        "centre of its mean image and the std below; pixel_at_crop: so too, but a random crop by the same crop of it",
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
class OptimizerConfig:
    name: Literal["adam", "momentum", "momentum_2012", "sgd"] = Field(
        default="adam",
        description="update rule: adam, momentum (the learning rate multiplies the velocity), momentum_2012 (it is in "
        "the velocity, as in 2012 and in Caffe) or sgd",
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="initial learning rate")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="for momentum and momentum_2012")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 decay added to the gradient")
    decay_biases: bool = Field(default=True, description="whether the decay applies to biases too")
    bias_learning_rate: float = Field(default=1.0, gt=0, description="the biases' learning rate as a multiple")


@dataclass(frozen=True, config=_STRICT)
class ScheduleConfig:
    name: Literal["constant", "step", "plateau"] = Field(
        default="constant", description="learning rate over epochs: constant, step or plateau"
    )
    milestones: tuple[PositiveInt, ...] = Field(
        default=(), description="step: epochs after which the rate is multiplied"
    )
    factor: float = Field(default=0.1, gt=0, lt=1, description="step and plateau: multiplier")
    patience: int = Field(default=3, ge=1, description="plateau: epochs without a better validation loss")

    def __post_init__(self) -> None:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones {list(self.milestones)} must be in rising order")
        if (self.name == "step") != bool(self.milestones):
            raise ValueError("name step and milestones go together: set both or neither")


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    epochs: int = Field(default=10, ge=1, description="passes over the training split")
    batch_size: int = Field(default=32, ge=1, description="images in a step")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of weights, dropout and the order of images")
    patience: int = Field(
        default=0, ge=0, description="stop after so many epochs without a better validation loss; 0: never"
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
    output: PathText = Field(default="runs/alexnet", description="folder of the run; an earlier run in it is kept")
    device: Annotated[str, _by(check_device)] = Field(
        default="auto", description="auto (the first GPU, else CPU), cpu or gpu:N"
    )
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


def recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name: in a wheel inside it, in a checkout beside it."""
    inside = Path(__file__).with_name("configs")
    folder = inside if inside.is_dir() else Path(__file__).resolve().parents[1] / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: Path) -> Path:
    """The file of a recipe: `name` itself, or the one of `recipes()` that is called so.

    Raises UserError if there is none, naming the nearest of `recipes()`.
    """
    if name.exists():
        return name
    if len(name.parts) > 1 or name.suffix:
        raise UserError(f"{name}: no such recipe file; those that come with the package are {', '.join(recipes())}")
    return recipes()[one_of(str(name), recipes(), what="recipe")]


def load_config(path: Optional[Path] = None, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe, by file or by the name of one of `recipes()`, and apply overrides such as `train.epochs=3`.

    In an override the text of a key of type text is taken as it is, `null` meaning none where the key may be none;
    other values are YAML, of which numbers follow 1.2: 1e-4 is a float. Raises UserError for a file that is not
    there, an unknown key (naming the nearest), a wrong type or an impossible value.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}  # of each value: the file or the override, for messages
    if path is not None:
        values = _read_recipe(find_recipe(path))
        origin = dict.fromkeys(values, str(path))
    for override in overrides:
        key, value = _read_override(override)
        values[key], origin[key] = value, _short(override)
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *groups, last = key.split(".")
        group = tree
        for name in groups:
            group = group.setdefault(name, {})
        group[last] = value
    try:
        return TypeAdapter(Config).validate_json(json.dumps(tree))
    except ValidationError as error:
        raise UserError(_explain(error, origin)) from None


def save_config(config: Config, path: Path, *, comment: str) -> None:
    """Write a config, under a line of comment, as YAML that `load_config` reads back unchanged."""
    yaml: Any = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # keep the order of the dataclasses
    stream = StringIO()
    yaml.dump(json.loads(json.dumps(asdict(config))), stream)
    write_text(path, f"# {comment}\n{stream.getvalue()}")


def describe_keys() -> str:
    """Every key with its default and meaning, two lines each, to be shown as help."""
    lines = []
    for key, entry in _keys(Config):
        lines.append(f"  {key}={json.dumps(entry.default.default)}\n        {entry.default.description}")
    return "\n".join(lines)


def _keys(cls: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its field; groups of keys are walked, not named."""
    hints = get_type_hints(cls)
    for entry in fields(cls):
        if is_dataclass(hints[entry.name]):
            yield from _keys(hints[entry.name], f"{prefix}{entry.name}.")
        else:
            yield prefix + entry.name, entry


@cache
def _types() -> dict[str, Any]:
    """The type of every key."""
    groups = get_type_hints(Config)
    types = {}
    for key, entry in _keys(Config):
        group, _, _ = key.rpartition(".")
        types[key] = get_type_hints(groups[group] if group else Config)[entry.name]
    return types


def _read_recipe(path: Path) -> dict[str, Any]:
    """The values in a recipe's file by key."""
    try:
        text = read_small(path, at_most=LARGEST_RECIPE).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot read the recipe ({error})") from error
    tree = _parse(text, where=str(path))
    if not isinstance(tree, (dict, type(None))):
        raise UserError(f"{path}: a recipe is a mapping of keys to values, such as train: {{epochs: 3}}")
    return dict(_flatten(tree or {}, where=str(path)))


def _flatten(tree: dict[str, Any], *, where: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    groups = {key.rpartition(".")[0] for key in _types()} - {""}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if key in groups and isinstance(value, (dict, type(None))):
            yield from _flatten(value or {}, where=where, prefix=f"{key}.")
        elif key in groups:
            raise UserError(f"{where}: {_group(key)}")
        elif "." in name:
            raise UserError(f"{where}: {key[:100]}: a key within a group is written below it, indented")
        elif key not in _types():
            raise UserError(f"{where}: {_unknown(key)}")
        else:
            yield key, value


def _read_override(override: str) -> tuple[str, Any]:
    """The key and the value of `key.sub=value`."""
    where = _short(override)
    key, equals, text = override.partition("=")
    if not (equals and key):
        raise UserError(f"{where}: write it as key.sub=value, for example train.epochs=3")
    if any(known.startswith(f"{key}.") for known in _types()):
        raise UserError(f"{where}: {_group(key)}")
    if key not in _types():
        raise UserError(f"{where}: {_unknown(key)}")
    optional = type(None) in get_args(_types()[key])
    if not text.strip():
        remedy = f"; write {key}=null where none is meant" if optional else ""
        raise UserError(f"{where}: the value is empty{remedy}")
    if optional and text == "null":
        return key, None
    if _types()[key] in (str, Optional[str]) or get_origin(_types()[key]) is Literal:
        if _control(text):
            raise UserError(f"{where!a}: a control character, or a name that is not UTF-8")
        return key, text
    return key, _parse(text, where=where)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _control(text: str) -> bool:
    """Whether a text holds control characters, or halves of characters as in file names that are not UTF-8."""
    return any(category(character) in ("Cc", "Cs") for character in text)


class _Constructor(SafeConstructor):
    """Leaves dates as text."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def _parse(text: str, *, where: str) -> Any:
    """The value that YAML describes: numbers, text, lists and mappings, of bounded size and depth."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        if len(text) > LARGEST_RECIPE:
            raise ValueError(f"longer than {LARGEST_RECIPE} characters")
        depth = 0
        for event in yaml.parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError(f"nested deeper than {DEEPEST}")
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise ValueError("anchors, aliases and tags are not taken")
        value = yaml.load(text)
        _check_values(value)
        return value
    except Exception as error:  # the reader of YAML may raise anything for odd text
        what = "not valid YAML: " if isinstance(error, YAMLError) else ""
        raise UserError(f"{where}: {what}{_short(' '.join(str(error).split()))}") from None


def _check_values(value: Any) -> None:
    """Raise ValueError for what a setting cannot be."""
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise ValueError(f"the key {name} is not text")
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            _check_values(part)
    elif isinstance(value, int) and abs(value) > 1 << 53:
        raise ValueError("a number of more than 15 digits")
    elif isinstance(value, str) and _control(value):
        raise ValueError("a text with control characters")


def _group(key: str) -> str:
    first = next(known for known in _types() if known.startswith(f"{key}."))
    return f"{key} is a group of keys; set one of them, such as {first}"


_OTHERS_NAMES = {
    "arch": "preset",
    "bs": "batch_size",
    "checkpoint": "weights",
    "dataset": "root",
    "dir": "root",
    "gpu": "device",
    "lr": "learning_rate",
    "model.name": "preset",
    "num_epochs": "epochs",
    "num_workers": "workers",
    "pretrained": "weights",
    "wd": "weight_decay",
}


def _unknown(key: str) -> str:
    """What to say of a key that is none: the nearest, first among the keys whose last part is the same."""
    last = key.rpartition(".")[2]
    last = _OTHERS_NAMES.get(key) or _OTHERS_NAMES.get(last, last)
    groups = [entry.name for entry in fields(Config)]
    near = [known for known in _types() if known.rpartition(".")[2] == last] or [*_types(), *groups]
    return f"unknown key {key[:100]}; did you mean {difflib.get_close_matches(key[:100], near, n=1, cutoff=0.0)[0]}?"


def _explain(error: ValidationError, origin: dict[str, str]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = next((o for k, o in origin.items() if f"{key}.".startswith(f"{k}.")), None)
    where = where or next((o for k, o in origin.items() if k.startswith(f"{key}.")), "config")
    if first["type"] == "value_error":
        return f"{where}: {'' if where.startswith(key) else f'{key}: '}{first['ctx']['error']}"
    value = json.dumps(first["input"], default=str, ensure_ascii=False)
    return f"{where}: {key} is {value}: {first['msg'][0].lower()}{first['msg'][1:]}"
