"""metadata.json as a stranger may write it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import metadata_of

from paddle_alexnet import AlexNet, UserError
from paddle_alexnet.data.preprocess import encode_mean_image
from paddle_alexnet.runs.metadata import _checksum, from_json, to_json

HERE = Path("metadata.json")


@pytest.fixture(scope="module")
def metadata():
    return metadata_of(AlexNet("half", 3))


def test_written_and_read(metadata):
    described = replace(metadata, origin=replace(metadata.origin, data="Äpfel 林檎", val_loss=0.1))
    assert from_json(to_json(described), source=HERE) == described


def test_from_json_of_the_form_before_schemas_reads_it(metadata):
    flat = {
        "preset": "half", "lrn": "none", "quirks": [], "data": "a test's", "data_root": "/d", "data_csv": "/d/l.csv",
        "epoch": 3, "val_loss": 0.5, "val_top1": None, "paddle": "2.6.2", "kind": "checkpoint", "output": "logits",
        "classes": {"names": ["class 0", "class 1", "class 2"], "wnids": [None, None, None]},
        "preprocess": {"image_size": 224, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "geometry": "squash",
                       "resize": None, "mean_image": None},
        "sha256": {"weights.pdparams": "0" * 64},
    }  # fmt: skip
    read = from_json(json.dumps(flat).encode(), source=HERE)
    assert (read.model, read.classes, read.preprocess) == (metadata.model, metadata.classes, metadata.preprocess)
    assert (read.origin.data_csv, read.origin.val_loss, read.origin.epoch) == ("/d/l.csv", 0.5, 3)
    assert read.sha256 == {"weights.pdparams": "0" * 64}


def test_from_json_of_schema_2_reads_it(metadata):
    content = json.loads(to_json(metadata))
    for name in ("checksum", "output", "proof"):
        del content[name]
    content["schema"] = 2
    content["checksum"] = _checksum(content)
    assert from_json(json.dumps(content).encode(), source=HERE) == metadata


def test_swapped_class_names_do_not_pass(metadata):
    swapped = to_json(metadata).replace(b"class 0", b"class x").replace(b"class 1", b"class 0")
    with pytest.raises(UserError, match="checksum"):
        from_json(swapped, source=HERE)


def test_a_newer_schema_is_named(metadata):
    with pytest.raises(UserError, match=r"schema 99.*upgrade"):
        from_json(to_json(metadata).replace(b'"schema": 3', b'"schema": 99'), source=HERE)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 10**5, b'{"schema": 2}', b"{}", b'{"classes": 1}', b"1" * 5000]
)
def test_from_json_of_content_that_is_no_metadata_raises(content):
    with pytest.raises(UserError, match=r"metadata\.json: is damaged or from another program") as error:
        from_json(content, source=HERE)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("preprocess.mean", [math.nan, 0, 0], "finite"),
        ("preprocess.std", [math.inf, 1, 1], "finite"),
        ("preprocess.std", [0, 1, 1], "std not 0"),
        ("preprocess.image_size", 30_000, "4096"),
        ("preprocess.decode_limit", 1 << 40, "megabytes"),
        ("preprocess.image_size", 0, "4096"),
        ("preprocess.resize", 10**6, "4096"),
        ("preprocess.mean_image", "AAAA", "PNG"),
        ("preprocess.geometry", "twist", "geometry"),
        ("classes.names", ["a", "a", "b"], "same name"),
        ("classes.names", ["a", "b"], "2 class names"),
        ("classes.names", ["a", "b", "\x1b[31mc"], "control character"),
        ("origin.data", "a\nb", "control character"),
        ("model.num_classes", 4, "4 outputs"),
        ("sha256", {"../weights": "0" * 64}, "not the name of a file"),
        ("sha256", {"/etc/passwd": "0" * 64}, "not the name of a file"),
        ("sha256", {"a" * 300: "0" * 64}, "not the name of a file"),
        ("sha256", {"": "0" * 64}, "not the name of a file"),
        ("sha256", {"weights.pdparams": "abc"}, "SHA-256"),
        ("kind", "virus", "kind"),
    ],
)
def test_an_unsound_value_is_one_line_that_names_it(metadata, path, value, reason):
    content = json.loads(to_json(metadata))
    del content["checksum"]
    part = content
    *way, last = path.split(".")
    for name in way:
        part = part[name]
    part[last] = value
    content["checksum"] = _checksum(content)
    with pytest.raises(UserError, match=reason) as error:
        from_json(json.dumps(content).encode(), source=HERE)
    assert str(error.value).isprintable()


def test_a_mean_image_is_of_the_image_s_size(metadata):
    import numpy as np

    for size, sound in ((224, True), (100, False)):
        image = encode_mean_image(np.zeros((3, size, size), np.float32))
        described = replace(metadata, preprocess=replace(metadata.preprocess, mean_image=image))
        if sound:
            assert from_json(to_json(described), source=HERE) == described
        else:
            with pytest.raises(UserError, match="224×224"):
                to_json(described)
