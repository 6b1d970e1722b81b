"""Serve a model over HTTP, and a page to try it in a browser.

POST /predict answers images with their most probable classes, POST /explain shows what the network saw; /health,
/metrics (Prometheus) and /docs tell about the service. It listens on this machine alone unless --host says
otherwise, and knows neither passwords nor encryption. Needs `pip install "paddle-alexnet[serve]"`.
"""

import argparse
import re
from contextlib import closing

from paddle_alexnet.commands.options import add_device_option, add_precision_options, not_negative, positive, typed_path
from paddle_alexnet.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="MODEL", help="a run, a checkpoint or an exported folder")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at, default %(default)s")
    parser.add_argument("--port", type=not_negative, default=8000, help="0 is a free one, default %(default)s")
    add_device_option(parser)
    add_precision_options(parser)
    limits = parser.add_argument_group("limits")
    limits.add_argument("--batch-size", type=positive, default=32, metavar="N", help="images, default %(default)s")
    limits.add_argument(
        "--gather", type=not_negative, default=5, metavar="MS", help="that a batch waits for more, default %(default)s"
    )
    limits.add_argument(
        "--waiting", type=positive, default=128, metavar="N", help="images in the service, default %(default)s"
    )
    limits.add_argument("--megabytes", type=positive, default=20, metavar="N", help="a request, default %(default)s")
    limits.add_argument("--megapixels", type=positive, default=50, metavar="N", help="an image, default %(default)s")
    limits.add_argument("--images", type=positive, default=32, metavar="N", help="a request, default %(default)s")
    limits.add_argument(
        "--timeout",
        type=positive,
        default=30,
        metavar="S",
        help="for an upload, and for an answer, default %(default)s",
    )
    limits.add_argument(
        "--decoding",
        type=positive,
        default=10,
        metavar="S",
        help="of computing to decode an image, default %(default)s",
    )
    limits.add_argument("--connections", type=positive, default=256, metavar="N", help="open, default %(default)s")
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a site whose pages may use the service, such as https://example.org, or * for all; repeat for more",
    )
    parser.add_argument(
        "--samples", type=not_negative, default=10, metavar="N", help="pictures on the page, default %(default)s"
    )


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.runs.resolve import resolve_model

    model = resolve_model(arguments.model)
    for origin in arguments.allow_origin:
        if origin != "*" and not re.fullmatch(r"https?://[^/?#\s]+", origin):
            raise UserError(f"{origin}: not the origin of a page; name scheme, host and port, as http://localhost:3000")
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401  reads forms
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f'{error.name} is not installed: pip install "paddle-alexnet[serve]"') from None
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
    print(f"{metadata.model.preset}, epoch {metadata.origin.epoch}, trained on {metadata.origin.data}")
    if served.network is None:
        print("an exported model alone: it answers, but cannot be looked into; a run or a checkpoint can")
    app = create_app(served, limits, samples(metadata, arguments.samples), allow_origins=arguments.allow_origin)

    def started() -> None:
        print(f"serving at {address_of(listening)} (Ctrl-C stops)", flush=True)
        if arguments.host not in ("127.0.0.1", "::1", "localhost"):
            print(
                "other machines can reach it, without a password: put a proxy before it that asks for one", flush=True
            )

    with closing(listening):
        Server(app, limits, started=started).run(sockets=[listening])
