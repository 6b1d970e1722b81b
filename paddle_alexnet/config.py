"""Typed settings: the ground floor. One YAML file is one complete recipe.

A key is spelled the same in the YAML file, in the dataclass, in the function that takes it and
in the command-line override `-o key.sub=value`.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, field, fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal, Optional, get_type_hints

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from paddle_alexnet.errors import UserError
from paddle_alexnet.files import write_text

DEFAULT_RECIPE = "paddle2"

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    preset: str = Field(default="paddle2", description="network, a name from paddle_alexnet/presets.py")
    lrn: str = Field(default="auto", description="local response normalisation: auto, avgpool3d, builtin or none")
    quirks: tuple[str, ...] = Field(
        default=(), description="departures of the original article's code to reproduce, by name"
    )
    weights: Optional[str] = Field(default=None, description="start from the weights of this run or checkpoint")


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    root: Optional[str] = Field(
        default=None, description="folder of images; null: ./data if it is there, else the embedded demo set"
    )
    csv: Optional[str] = Field(
        default=None, description="table with filename, label, split (train, val, test); null: labels.csv in root"
    )
    classes: Optional[str] = Field(
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
    normalise: Literal["given", "channel", "pixel"] = Field(
        default="given",
        description="given: by mean and std below; channel: by both as measured on the train split; pixel: by its mean "
        "image and the std below",
    )
    mean: tuple[float, float, float] = Field(
        default=(0.485, 0.456, 0.406), description="subtracted, RGB, of values in 0..1"
    )
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        default=(0.229, 0.224, 0.225), description="divided by, RGB, after the mean"
    )
    verify: bool = Field(default=True, description="decode every image once before the first step")
    fault_limit: int = Field(
        default=0, ge=0, description="unreadable images that a run reports and skips; one more is an error"
    )
    cache: Literal["none", "ram", "disk"] = Field(
        default="none", description="keep decoded patches: none, ram (this run's) or disk (later runs' too)"
    )
    cache_folder: Optional[str] = Field(
        default=None, description="where measured statistics and decoded patches are kept; null: cache beside output"
    )
    workers: int = Field(default=2, ge=1, le=256, description="threads that decode and transform images")


@dataclass(frozen=True, config=_STRICT)
class OptimizerConfig:
    name: Literal["adam", "momentum", "sgd"] = Field(default="adam", description="update rule: adam, momentum or sgd")
    learning_rate: float = Field(default=1e-4, gt=0, description="initial learning rate")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="for momentum")
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


@dataclass(frozen=True, config=_STRICT)
class Config:
    output: str = Field(
        default="runs/alexnet", min_length=1, description="folder of the run; an earlier run in it is kept"
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|gpu:\d+)$", description="auto (the first GPU, else CPU), cpu or gpu:N"
    )
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name: in a wheel inside it, in a checkout beside it."""
    inside = Path(__file__).with_name("configs")
    folder = inside if inside.is_dir() else Path(__file__).resolve().parents[1] / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_config(path: Optional[Path] = None, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe, by file or by the name of one of `recipes()`, and apply overrides such as `train.epochs=3`.

    Raises UserError for a file that is not there, an unknown key (naming the nearest), a wrong
    type or an impossible value. Numbers follow YAML 1.2: 1e-4 is a float.
    """
    if path is not None and str(path) in recipes() and not path.is_file():
        path = recipes()[str(path)]
    tree = _read_yaml(path) if path is not None else {}
    origin = dict.fromkeys(_leaves(tree), str(path))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not (equals and key):
            raise UserError(f"-o {override}: write it as key.sub=value, for example -o train.epochs=3")
        _assign(tree, key, _parse(text, f"-o {override}"))
        origin[key] = f"-o {override}"
    try:
        return TypeAdapter(Config).validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise UserError(_explain(error, origin, str(path))) from None


def save_config(config: Config, path: Path, *, comment: str) -> None:
    """Write the resolved config, under a line of comment, as YAML that `load_config` reads back unchanged."""
    yaml: Any = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # keep the order of the dataclasses
    stream = StringIO()
    yaml.dump(json.loads(json.dumps(asdict(config))), stream)
    write_text(path, f"# {comment}\n{stream.getvalue()}")


def describe_keys() -> str:
    """Every key with its default and meaning, a line each, for --help."""
    lines = []
    for key, entry in _keys(Config):
        lines.append(f"  {key}={json.dumps(entry.default.default)}\n        {entry.default.description}")
    return "\n".join(lines)


def _keys(cls: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(cls)
    for entry in fields(cls):
        if is_dataclass(hints[entry.name]):
            yield from _keys(hints[entry.name], f"{prefix}{entry.name}.")
        else:
            yield prefix + entry.name, entry


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read the config ({error}); the recipes are in configs/") from error
    tree = _parse(text, str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a config is a mapping of keys to values, see configs/ for examples")
    return tree


def _parse(text: str, where: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        first = " ".join(str(error).split())
        raise UserError(f"{where}: not valid YAML: {first}") from None


def _assign(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for depth, parent in enumerate(parents):
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise UserError(f"-o {key}=…: {'.'.join(parents[: depth + 1])} is a value, not a group of keys")
    tree[last] = value


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in tree.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")


def _explain(error: ValidationError, origin: dict[str, str], path: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = next((o for k, o in origin.items() if k == key or f"{k}.".startswith(f"{key}.")), path)
    if first["type"] == "unexpected_keyword_argument":
        known = [name for name, _ in _keys(Config)]
        groups = [entry.name for entry in fields(Config)]
        near = difflib.get_close_matches(key, [*known, *groups], n=1, cutoff=0.0)
        return f"{where}: unknown key {key}; did you mean {near[0]}? (--help lists every key)"
    value = json.dumps(first["input"], default=str)
    return f"{where}: {key} is {value}: {first['msg'][0].lower()}{first['msg'][1:]}"
