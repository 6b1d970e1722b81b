"""What a network saw in an image, as pictures for the page."""

import base64
from typing import Any, Optional

import numpy as np
from PIL import Image

from paddle_alexnet.explain import views
from paddle_alexnet.explain.drawing import map_picture, overlay
from paddle_alexnet.explain.views import Subject
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.report.pictures import encoded
from paddle_alexnet.runs.metadata import Metadata


def insight(
    network: AlexNet,
    metadata: Metadata,
    pixels: np.ndarray,
    probabilities: np.ndarray,
    *,
    label: Optional[int],
    maps: int,
) -> dict[str, Any]:
    """Grad-CAM over an image, uint8 [S, S, 3], for class `label` or the most probable one, and the strongest maps.

    Pictures are data URIs, those of maps with a pixel a cell.
    """
    chosen = int(probabilities.argmax()) if label is None else label
    image = metadata.preprocess.batch(pixels[None])[0]
    subject = Subject(network, metadata, pixels, image, probabilities, chosen)
    heat = views.heat(subject)
    return {
        "label": metadata.classes.names[chosen],
        "image": _uri(Image.fromarray(pixels), "jpeg"),
        "overlay": _uri(overlay(pixels, heat), "jpeg"),
        "empty": not heat.any(),
        "layers": [
            {
                "name": name,
                "cells": found[0].values.shape,
                "maps": [
                    {
                        "channel": one.channel,
                        "peak": float(one.values.max()),
                        "picture": _uri(map_picture(one.values), "png"),
                    }
                    for one in found
                ],
            }
            for name, found in (views.strongest_maps(subject, maps) if maps else {}).items()
        ],
    }


def _uri(image: Image.Image, form: str) -> str:
    return f"data:image/{form};base64,{base64.b64encode(encoded(image, form.upper())).decode()}"
