"""Recipes, YAML files with the settings of a run, and overrides of single keys such as `train.epochs=3`."""

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from io import StringIO
from pathlib import Path
from typing import Any, Literal, Optional, Union, get_args, get_origin
from unicodedata import category

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from paddle_alexnet.config.choices import nearest, one_of
from paddle_alexnet.config.schema import Config, key_types
from paddle_alexnet.system.errors import MissingFileError, UserError
from paddle_alexnet.system.files import decode, read_small, write_text
from paddle_alexnet.system.user_path import user_path

LARGEST_RECIPE = 100_000  # bytes of a recipe, characters of a value
DEEPEST = 5  # nested collections
DATA_COMMENT = "the data is"  # start of the first line of a run's config.yaml
RENAMED_KEYS = {  # earlier spellings: accepted in an earlier run's config.yaml, errors in a recipe
    "data.colour_jitter": "data.color_jitter",
    "data.erase": "data.random_erasing",
    "data.flip": "data.horizontal_flip",
    "data.normalise": "data.normalize",
    "model.initialisation": "model.initialization",
}
LIST_OF_KEYS = "`paddle-alexnet train --help` lists the keys"


def recipes() -> dict[str, Path]:
    """Return the files of the package's recipes by name: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    folder = inside if inside.is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: Path) -> Path:
    """Return the file of a recipe: `name` itself if it exists, else the recipe of the package with that name.

    Raises:
        UserError: There is neither; the message names the most similar recipe.
    """
    if name.exists():
        return name
    if len(name.parts) > 1 or name.suffix:
        raise MissingFileError(f"{name}: recipe not found; name a file, or one of {', '.join(recipes())}")
    return recipes()[one_of(str(name), recipes(), what="recipe")]


def load_config(path: Optional[Union[str, os.PathLike[str]]] = None, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe, by file or by the name of one of `recipes()`, and apply overrides such as `train.epochs=3`.

    A text key takes the text of an override literally, except `null` if the key may be None. Other values are YAML 1.2,
    in which 1e-4 is a float.

    Raises:
        UserError: The file is not found, a key is unknown (the message names the most similar one), or a value has the
            wrong type or is out of range.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}  # the file or override of each value, for messages
    if path is not None:
        values = _read_recipe(find_recipe(user_path(path)))
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


def flatten_config(config: Config) -> dict[str, Any]:
    """Return the values of a config by key."""

    def flat(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in tree.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    return dict(flat(asdict(config), ""))


def config_as_text(config: Config) -> dict[str, str]:
    """Return the values of a config by key, as text."""
    values = flatten_config(config).items()
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values}


def current_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Rename the keys of an earlier run's values to the present spelling."""
    return {RENAMED_KEYS.get(key, key): value for key, value in values.items()}


def with_absolute_paths(config: Config) -> Config:
    """Return a config whose paths are absolute, valid from any working directory."""

    def absolute(path: Optional[str]) -> Optional[str]:
        return path and str(Path(path).expanduser().absolute())

    data = replace(
        config.data,
        root=absolute(config.data.root),
        csv=absolute(config.data.csv),
        classes=absolute(config.data.classes),
        cache_folder=absolute(config.data.cache_folder),
    )
    model = replace(config.model, weights=absolute(config.model.weights))
    return replace(config, output=str(Path(config.output).expanduser().absolute()), model=model, data=data)


def save_config(config: Config, path: Path, *, comment: str) -> None:
    """Write a config as YAML that `load_config` reads back unchanged, after a line of comment."""
    yaml: Any = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # keep the order of the dataclasses
    stream = StringIO()
    yaml.dump(json.loads(json.dumps(asdict(config))), stream)
    write_text(path, f"# {comment}\n{stream.getvalue()}")


def _read_recipe(path: Path) -> dict[str, Any]:
    """Return the values of a recipe file by key."""
    try:
        text = decode(read_small(path, at_most=LARGEST_RECIPE))
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: recipe is unreadable ({error}); name a YAML file in UTF-8") from error
    tree = _parse(text, where=str(path))
    if not isinstance(tree, (dict, type(None))):
        raise UserError(f"{path}: is not a recipe; write a mapping of keys to values, such as train: {{epochs: 3}}")
    renamed = RENAMED_KEYS if text.startswith(f"# {DATA_COMMENT} ") else {}
    return dict(_flatten(tree or {}, where=str(path), renamed=renamed))


def _flatten(
    tree: dict[str, Any], *, where: str, renamed: dict[str, str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    groups = {key.rpartition(".")[0] for key in key_types()} - {""}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        key = renamed.get(key, key)
        if key in groups and isinstance(value, (dict, type(None))):
            yield from _flatten(value or {}, where=where, renamed=renamed, prefix=f"{key}.")
        elif key in groups:
            raise UserError(f"{where}: {_group(key)}")
        elif "." in name:
            raise UserError(f"{where}: {key[:100]}: has a dot; write the key indented below its group")
        elif key not in key_types():
            raise UserError(f"{where}: {_unknown(key)}")
        else:
            yield key, value


def _read_override(override: str) -> tuple[str, Any]:
    """Return the key and the value of `key.sub=value`."""
    where = _short(override)
    key, equals, text = override.partition("=")
    if not (equals and key):
        raise UserError(f"{where}: is not an override; write key.sub=value, for example train.epochs=3")
    if any(known.startswith(f"{key}.") for known in key_types()):
        raise UserError(f"{where}: {_group(key)}")
    if key not in key_types():
        raise UserError(f"{where}: {_unknown(key)}")
    optional = type(None) in get_args(key_types()[key])
    if not text.strip():
        raise UserError(f"{where}: the value is empty; write {f'{key}=null for none' if optional else 'one'}")
    if optional and text == "null":
        return key, None
    if key_types()[key] in (str, Optional[str]) or get_origin(key_types()[key]) is Literal:
        if _control(text):
            raise UserError(f"{where!a}: has control characters or is not UTF-8; remove them")
        return key, text
    return key, _parse(text, where=where)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _control(text: str) -> bool:
    """Return whether a text has control characters, or surrogates as in file names that are not UTF-8."""
    return any(category(character) in ("Cc", "Cs") for character in text)


class _Constructor(SafeConstructor):
    """A constructor that keeps dates as text."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def _parse(text: str, *, where: str) -> Any:
    """Return the value of YAML text: numbers, text, lists and mappings, of limited size and depth."""
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
                raise ValueError("anchors, aliases and tags are not supported")
        value = yaml.load(text)
        _check_values(value)
        return value
    except Exception as error:  # ruamel.yaml may raise anything for odd text
        what = "not valid YAML: " if isinstance(error, YAMLError) else ""
        raise UserError(f"{where}: {what}{_short(' '.join(str(error).split()))}") from None


def _check_values(value: Any) -> None:
    """Raise ValueError for a value that no key can have."""
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise ValueError(f"the key {name} is not text")
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            _check_values(part)
    elif isinstance(value, int) and abs(value) > 1 << 53:
        raise ValueError("a number has more than 15 digits")
    elif isinstance(value, str) and _control(value):
        raise ValueError("a text has control characters")


def _group(key: str) -> str:
    first = next(known for known in key_types() if known.startswith(f"{key}."))
    return f"{key} is a group of keys; set one of them, such as {first}"


_OTHERS_NAMES = {  # other programs' names for settings, and our key or the last part of it
    "a": "preset",
    "accum_iter": "accumulate",
    "accumulate_grad_batches": "accumulate",
    "annotations": "csv",
    "arch": "preset",
    "architecture": "preset",
    "b": "batch_size",
    "batch": "batch_size",
    "bs": "batch_size",
    "checkpoint": "weights",
    "clip_grad": "clip_norm",
    "colour_jitter": "color_jitter",
    "data": "root",
    "data_dir": "root",
    "data_path": "root",
    "dataset": "root",
    "dir": "root",
    "early_stopping": "train.patience",
    "finetune": "weights",
    "fp16": "amp",
    "gpu": "device",
    "gpus": "device",
    "gradient_accumulation_steps": "accumulate",
    "hflip": "horizontal_flip",
    "img_size": "resize",
    "image_size": "resize",
    "init_lr": "learning_rate",
    "input_size": "resize",
    "j": "workers",
    "labels": "csv",
    "lr": "learning_rate",
    "lr_policy": "schedule.name",
    "lr_scheduler": "schedule.name",
    "max_epochs": "epochs",
    "model": "preset",
    "model.name": "preset",
    "model_ema": "ema",
    "net": "preset",
    "network": "preset",
    "num_epochs": "epochs",
    "num_workers": "workers",
    "opt": "optimizer.name",
    "optim": "optimizer.name",
    "optimiser": "optimizer.name",
    "optimizer": "optimizer.name",
    "out": "output",
    "out_dir": "output",
    "output_dir": "output",
    "pretrained": "weights",
    "random_seed": "seed",
    "reprob": "random_erasing",
    "save_dir": "output",
    "sched": "schedule.name",
    "scheduler": "schedule.name",
    "smoothing": "label_smoothing",
    "train_dir": "root",
    "warmup": "warmup_epochs",
    "wd": "weight_decay",
}


def meant_key(name: str) -> Optional[str]:
    """Guess the key that a name means, by its last part, other programs' names or a typo; None without a guess."""
    groups = [entry.name for entry in fields(Config)]
    last = name.rpartition(".")[2]
    meant = _OTHERS_NAMES.get(name) or _OTHERS_NAMES.get(last, last)
    if meant in key_types():
        return meant
    same = [known for known in key_types() if known.rpartition(".")[2] == meant]
    if same and (len(same) == 1 or "." not in name):
        return same[-1]
    if "." in name and (found := nearest(name, same or [*key_types(), *groups])):
        return found
    by_last = {**{known.rpartition(".")[2]: known for known in key_types()}, **{group: group for group in groups}}
    found = nearest(last, by_last, cutoff=0.8)
    return by_last[found] if found else None


def meant_overrides(options: Sequence[tuple[str, Optional[str]]]) -> str:
    """Return the remedy for unknown options: the overrides that they mean.

    Args:
        options: Each option with its value, None if it has none.
    """
    words = []
    for option, value in options:
        key = meant_key(option.lstrip("-").replace("-", "_"))
        if key in key_types():
            words.append(f"-o {shlex.quote(f'{key}={value}') if value else f'{key}=VALUE'}")
    unknown = len(words) < len(options)
    rest = f"{LIST_OF_KEYS} that -o KEY=VALUE sets" if unknown else ""
    return "; ".join([*([f"write {' '.join(words)}"] if words else []), *([rest] if rest else [])])


def _unknown(key: str) -> str:
    if key in RENAMED_KEYS:
        return f"{key} was renamed; write {RENAMED_KEYS[key]}"
    meant = meant_key(key)
    return f"unknown key {key[:100]}; {f'did you mean {meant}?' if meant else LIST_OF_KEYS}"


def _explain(error: ValidationError, origin: dict[str, str]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = next((o for k, o in origin.items() if f"{key}.".startswith(f"{k}.")), None)
    where = where or next((o for k, o in origin.items() if k.startswith(f"{key}.")), "config")
    if first["type"] == "value_error":
        return f"{where}: {'' if where.startswith(key) else f'{key}: '}{first['ctx']['error']}"
    value = json.dumps(first["input"], default=str, ensure_ascii=False)
    return f"{where}: {key} is {value}: {first['msg'][0].lower()}{first['msg'][1:]}"
