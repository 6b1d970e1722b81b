"""Web pages of the service at / and /docs, without resources from other servers."""

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
    """Return the page of a model that `explains` predictions or not; `samples` are labels of sample images."""
    return _render(
        "page.html",
        metadata=metadata,
        input=input_in_words(metadata.preprocess),
        explains=explains,
        limits=limits,
        samples=samples,
    )


def render_api(openapi: dict[str, Any]) -> str:
    """Return the page of the API from its OpenAPI description."""
    return _render("api.html", openapi=openapi)


def _render(name: str, **what: Any) -> str:
    folders = [Path(__file__).parent, Path(report.__file__).with_name("templates")]  # for the report's style
    templates = Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined)
    return templates.get_template(name).render(what)
