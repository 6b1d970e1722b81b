"""Clients of a service, for locust: 32 send a picture as soon as the last one is answered, and one means harm.

    pip install locust
    paddle-alexnet serve runs/demo
    locust -f tests/load/locustfile.py --headless --users 33 --spawn-rate 33 --run-time 60s --host http://127.0.0.1:8000

ALEXNET_IMAGENETTE=DIR sends the pictures below that folder, without it drawn ones. `tests/load/measure.py` starts all
of it and compares with the predictor alone. What the harmful client gets must be a refusal: else it is a failure.
"""

import io
import os
import random
import struct
import zlib
from pathlib import Path

from locust import FastHttpUser, constant, task
from PIL import Image

CLIENTS = 32


def _pictures() -> list[bytes]:
    folder = os.environ.get("ALEXNET_IMAGENETTE")
    if folder:
        return [path.read_bytes() for path in sorted(Path(folder).rglob("*.JPEG"))[::4]]
    found = []
    for n in range(50):
        stream = io.BytesIO()
        Image.effect_noise((400 + n, 300), 40).convert("RGB").resize((800, 600)).save(stream, "JPEG")
        found.append(stream.getvalue())
    return found


def _bomb() -> bytes:
    """A PNG of 100 kB that claims 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _form(name: str, content: bytes) -> bytes:
    head = f'--border\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--border--\r\n"


PICTURES = _pictures()
HOSTILE = {
    "a text": (b"no picture", 415),
    "half a picture": (PICTURES[0][: len(PICTURES[0]) // 2], 422),
    "a decompression bomb": (_bomb(), 413),
    "30 MB": (os.urandom(1_000_000) * 30, 413),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415),
    "random bytes": (b"\xff\xd8\xff" + os.urandom(100_000), 415),
}
FORMS = [_form("a.jpg", picture) for picture in PICTURES]
HOSTILE_FORMS = [(name, _form("a.jpg", content), status) for name, (content, status) in HOSTILE.items()]
HEADERS = {"content-type": "multipart/form-data; boundary=border"}


class Client(FastHttpUser):
    """Sends one picture after the other."""

    fixed_count = CLIENTS

    @task
    def predict(self) -> None:
        body = random.choice(FORMS)
        with self.client.post("/predict", data=body, headers=HEADERS, catch_response=True) as answer:
            if answer.status_code != 200 or not answer.json()["predictions"][0]["top"]:
                answer.failure(f"{answer.status_code}: {answer.text}")


class Hostile(FastHttpUser):
    """Sends what must be refused, twice a second."""

    fixed_count = 1
    wait_time = constant(0.5)

    @task
    def harm(self) -> None:
        name, body, status = random.choice(HOSTILE_FORMS)
        with self.client.post(
            "/predict", data=body, headers=HEADERS, name=f"hostile: {name}", catch_response=True
        ) as answer:
            if answer.status_code == status:
                answer.success()
            else:
                answer.failure(f"{answer.status_code} instead of {status}: {answer.text}")
