"""The page at / and the API's at /docs: HTML files that ask for nothing from elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from paddle_alexnet import report
from paddle_alexnet.runs.metadata import Metadata, input_in_words
from paddle_alexnet.service.limits import Limits

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def render_page(metadata: Metadata, explains: bool, limits: Limits, samples: Sequence[str]) -> str:
    """The page of a model that `explains` or does not; `samples` are the labels of the pictures to click."""
    return _render(
        "page.html",
        metadata=metadata,
        input=input_in_words(metadata.preprocess),
        explains=explains,
        limits=limits,
        samples=samples,
    )


def render_api(openapi: dict[str, Any]) -> str:
    """The page of what the service answers to programs, by its OpenAPI description."""
    return _render("api.html", openapi=openapi)


def _render(name: str, **what: Any) -> str:
    folders = [Path(__file__).parent, Path(report.__file__).with_name("templates")]  # the style is the report's
    templates = Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined)
    return templates.get_template(name).render(what)
