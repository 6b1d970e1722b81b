"""Serve a model over HTTP, with a web page to try it.

POST /predict returns the most probable classes of images, POST /explain draws what the network computes; GET /health,
/metrics (Prometheus) and /docs describe the service. By default only this machine can reach the service, which has
neither passwords nor encryption. Requires `pip install "paddle-alexnet[serve]"`.
"""

import argparse
import re
from contextlib import closing

from paddle_alexnet.commands.options import (
    add_device_option,
    add_precision_options,
    not_negative,
    note,
    positive,
    typed_path,
)
from paddle_alexnet.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="MODEL", help="a run, a checkpoint or an exported folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=not_negative, default=8000, help="0 picks a free port (default: %(default)s)")
    add_device_option(parser)
    add_precision_options(parser)
    limits = parser.add_argument_group("limits")
    for name, default, metavar, text in (
        ("--batch-size", 32, "N", "images per batch"),
        ("--gather", 5, "MS", "milliseconds that a batch waits for more images"),
        ("--waiting", 128, "N", "images in the service at once"),
        ("--megabytes", 20, "N", "size of a request"),
        ("--megapixels", 50, "N", "size of an image"),
        ("--images", 32, "N", "images per request"),
        ("--timeout", 30, "S", "seconds for an upload, and for an answer"),
        ("--decoding", 10, "S", "CPU seconds to decode an image"),
        ("--connections", 256, "N", "open connections"),
    ):
        kind = not_negative if name == "--gather" else positive
        limits.add_argument(name, type=kind, default=default, metavar=metavar, help=f"{text} (default: %(default)s)")
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="site whose pages may use the service, such as https://example.org, or * for all; may be repeated",
    )
    parser.add_argument(
        "--samples", type=not_negative, default=10, metavar="N", help="sample images on the page (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.runs.resolve import resolve_model

    model = resolve_model(arguments.model)
    for origin in arguments.allow_origin:
        if origin != "*" and not re.fullmatch(r"https?://[^/?#\s]+", origin):
            raise UserError(f"{origin}: is not an origin; name scheme, host and port, as http://localhost:3000")
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401  reads forms
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f'{error.name}: is not installed; run pip install "paddle-alexnet[serve]"') from None
    from paddle_alexnet.service.limits import Limits
    from paddle_alexnet.service.server import Server, address_of, listen

    limits = Limits(
        megabytes=arguments.megabytes,
        megapixels=arguments.megapixels,
        images=arguments.images,
        waiting=arguments.waiting,
        batch_size=arguments.batch_size,
        gather=arguments.gather / 1000,
        timeout=arguments.timeout,
        decoding=arguments.decoding,
        connections=arguments.connections,
    )
    listening = listen(arguments.host, arguments.port)
    from paddle_alexnet.service.app import create_app
    from paddle_alexnet.service.samples import samples
    from paddle_alexnet.service.served_model import open_served

    served = open_served(
        model,
        device=arguments.device,
        precision=arguments.precision,
        calibration=arguments.calibration,
    )
    metadata = served.predictor.metadata
    note(f"{metadata.model.preset}, epoch {metadata.origin.epoch}, trained on {metadata.origin.data}")
    if served.network is None:
        print("an export outside its run can predict but not explain; name a run or a checkpoint to explain")
    app = create_app(served, limits, samples(metadata, arguments.samples), allow_origins=arguments.allow_origin)

    def started() -> None:
        print(f"serving at {address_of(listening)} (Ctrl-C stops)", flush=True)
        if arguments.host not in ("127.0.0.1", "::1", "localhost"):
            print(
                "warning: other machines reach the service without a password; add a proxy that asks for one",
                flush=True,
            )

    with closing(listening):
        Server(app, limits, started=started).run(sockets=[listening])
