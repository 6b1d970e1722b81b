"""Explanations of a prediction as images for the web page."""

import base64
from typing import Any, Optional

import numpy as np
from PIL import Image

from paddle_alexnet.explain import views
from paddle_alexnet.explain.drawing import WHOLE, map_picture, overlay
from paddle_alexnet.explain.views import Subject
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.plots.drawings import encoded
from paddle_alexnet.runs.metadata import Metadata


def insight(
    network: AlexNet,
    metadata: Metadata,
    pixels: np.ndarray,
    probabilities: np.ndarray,
    *,
    label: Optional[int],
    maps: int,
    original: Optional[np.ndarray] = None,
) -> dict[str, Any]:
    """Return Grad-CAM and the strongest feature maps of an image, uint8 [S, S, 3], as data URIs.

    Args:
        label: Index of the class; default: the most probable class.
        original: Whole image, uint8 [H, W, 3], to draw Grad-CAM on.
    """
    chosen = int(probabilities.argmax()) if label is None else label
    image = metadata.preprocess.batch(pixels[None])[0]
    shown = Image.fromarray(pixels if original is None else original)
    part = WHOLE if original is None else views.part_seen(metadata.preprocess, shown)
    subject = Subject(network, metadata, pixels, image, probabilities, chosen, shown, part)
    heat = views.heat(subject)
    return {
        "label": metadata.classes.names[chosen],
        "image": _uri(shown, "jpeg"),
        "overlay": _uri(overlay(shown, heat, part), "jpeg"),
        "peak": float(heat.max()),
        "scale": _uri(map_picture(np.linspace(0, 1, 64)[None]), "png"),
        "empty": not heat.any(),
        "layers": [
            {
                "name": name,
                "cells": found[0].values.shape,
                "maps": [
                    {
                        "channel": one.channel,
                        "peak": float(one.values.max()),
                        "image": _uri(map_picture(one.values), "png"),
                    }
                    for one in found
                ],
            }
            for name, found in (views.strongest_maps(subject, maps) if maps else {}).items()
        ],
    }


def _uri(image: Image.Image, form: str) -> str:
    return f"data:image/{form};base64,{base64.b64encode(encoded(image, form.upper())).decode()}"
