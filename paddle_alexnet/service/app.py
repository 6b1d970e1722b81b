"""FastAPI application of the service."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Optional, TypeVar

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.middleware.cors import CORSMiddleware

from paddle_alexnet.explain import views
from paddle_alexnet.inference.predictor import top_classes
from paddle_alexnet.plots.drawings import encoded
from paddle_alexnet.service.batcher import Batcher
from paddle_alexnet.service.decoders import Content, Decoders
from paddle_alexnet.service.explanations import insight
from paddle_alexnet.service.limits import Limits, Refused
from paddle_alexnet.service.prometheus import Metrics
from paddle_alexnet.service.request_limits import RequestLimits
from paddle_alexnet.service.samples import Sample
from paddle_alexnet.service.served_model import Served
from paddle_alexnet.service.web_page import CONTENT_SECURITY_POLICY, render_api, render_page
from paddle_alexnet.system.errors import UserError

Result = TypeVar("Result")

_EXPLAINING = 8  # images that take as long as an explanation


class PredictedClass(BaseModel):
    """One of the most probable classes."""

    rank: int
    label: str
    wnid: str
    probability: float


class PredictedImage(BaseModel):
    """The most probable classes of an image, or an error."""

    name: str
    top: list[PredictedClass]
    status: int = 200
    error: str = ""


class PredictResponse(BaseModel):
    """A prediction for each image, in the order of the request."""

    model: dict[str, Any]
    predictions: list[PredictedImage]


class Refusal(BaseModel):
    """The reason for refusing a request."""

    detail: str


_IMAGES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "required": ["file"],
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "images": {"type": "array", "items": {"type": "string", "format": "byte"}, "minItems": 1}
                    },
                    "required": ["images"],
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_REFUSALS: dict[Any, dict[str, Any]] = {
    status: {"model": Refusal, "description": text}
    for status, text in {
        400: "unreadable body",
        408: "upload timed out",
        413: "too many bytes, pixels or images, or too much memory to decode an image",
        415: "unknown image format, or unsupported content type",
        422: "damaged image, too long to decode, or invalid parameters",
        429: "too many images are waiting",
        431: "headers are too long",
        503: "response timed out",
    }.items()
}


def create_app(
    served: Served, limits: Limits, samples: Sequence[Sample] = (), *, allow_origins: Sequence[str] = ()
) -> FastAPI:
    """Return the application that serves a model; `allow_origins` are web pages' origins (CORS), or `*`."""
    predictor, network = served.predictor, served.network
    metadata = predictor.metadata
    names, wnids = metadata.classes.names, metadata.classes.wnids
    about = {
        "preset": metadata.model.preset,
        "epoch": metadata.origin.epoch,
        "data": metadata.origin.data,
        "classes": len(names),
        "kind": metadata.kind,
    }
    metrics = Metrics()
    decoders = Decoders(metadata.preprocess, limits)

    def compute(images: np.ndarray) -> np.ndarray:
        return np.exp(predictor.log_probabilities(metadata.preprocess.batch(images)))

    batcher = Batcher(compute, limits, observe=metrics.batches.observe)
    metrics.inside.set_function(lambda: batcher.inside)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await batcher.start()
        decoders.start()
        yield
        await batcher.stop()
        decoders.stop()

    app = FastAPI(
        title="paddle-alexnet",
        version="1",
        description=f"AlexNet {metadata.model.preset}, {len(names)} classes, trained on {metadata.origin.data}",
        docs_url=None,  # would load scripts from another server
        redoc_url=None,
        lifespan=lifespan,
    )
    paths = frozenset(("/", "/predict", "/explain", "/health", "/metrics", "/filters.png", "/docs", "/openapi.json"))
    app.add_middleware(RequestLimits, room=batcher.room, limits=limits, metrics=metrics, paths=paths)
    if allow_origins:
        app.add_middleware(CORSMiddleware, allow_origins=allow_origins, allow_methods=["GET", "HEAD", "POST"])

    @app.exception_handler(Refused)
    async def refuse(request: Request, refusal: Refused) -> JSONResponse:
        headers = {"retry-after": "1"} if refusal.status in (429, 503) else None
        return JSONResponse({"detail": refusal.reason}, refusal.status, headers)

    @app.exception_handler(UserError)
    async def fail(request: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 500)

    async def in_time(work: Awaitable[Result]) -> Result:
        try:
            return await asyncio.wait_for(work, limits.timeout)
        except asyncio.TimeoutError:
            raise Refused(503, f"no response within {limits.timeout:g} s; try again") from None

    async def predict_one(name: str, content: Content, top: int) -> dict[str, Any]:
        try:
            probabilities = await batcher(await decoders(content))
        except Refused as refusal:
            metrics.images.labels("refused").inc()
            return {"name": name, "top": [], "status": refusal.status, "error": refusal.reason}
        metrics.images.labels("answered").inc()
        return {"name": name, "top": most_probable(probabilities, top), "status": 200, "error": ""}

    def most_probable(probabilities: np.ndarray, top: int) -> list[dict[str, Any]]:
        return [
            {"rank": rank, "label": names[n], "wnid": wnids[n] or "", "probability": float(probabilities[n])}
            for rank, n in enumerate(top_classes(probabilities, top), start=1)
        ]

    @app.post(
        "/predict",
        response_model=PredictResponse,
        response_description="success",
        responses=_REFUSALS,
        openapi_extra=_IMAGES,
    )
    async def predict(request: Request, top: int = Query(5, ge=1, le=1000)) -> Response:
        """Return the most probable classes of images, in the order of the request.

        Send files as a form (in any fields), base64 in JSON, or one file as the body. The entry of an unreadable image
        has a `status` and an `error`. If all images are unreadable, the response has the status of the first.
        """
        images = await read_images(request, limits)
        with batcher.room(len(images) - 1):  # the first was counted before the upload
            predictions = await in_time(asyncio.gather(*(predict_one(*image, top) for image in images)))
        if all(prediction["error"] for prediction in predictions):
            raise Refused(predictions[0]["status"], predictions[0]["error"])
        return JSONResponse({"model": about, "predictions": predictions})

    @app.post("/explain", response_description="success", responses=_REFUSALS, openapi_extra=_IMAGES)
    async def explain(
        request: Request,
        top: int = Query(5, ge=1, le=1000),
        maps: int = Query(8, ge=0, le=32),
        label: Optional[str] = Query(None, max_length=1000),
    ) -> Response:
        """Return the most probable classes of one image and, in `insight`, Grad-CAM and feature maps as data URIs.

        `label` names the class for Grad-CAM (default: the most probable). `insight` is null for an exported model
        outside its run.
        """
        images = await read_images(request, limits)
        if len(images) > 1:
            raise Refused(413, f"{len(images)} images: /explain takes one; send each in a request")
        try:
            chosen = None if label is None else views.class_index(metadata, label)
        except UserError as error:
            raise Refused(422, str(error)) from None

        async def answer() -> dict[str, Any]:
            pixels, original = await decoders.with_original(images[0][1])
            probabilities = await batcher(pixels)
            seen = None
            if network is not None:
                seeing = functools.partial(insight, network, metadata, label=chosen, maps=maps, original=original)
                seen = await batcher.run(functools.partial(seeing, pixels, probabilities))
            return {"model": about, "top": most_probable(probabilities, top), "insight": seen}

        with batcher.room(_EXPLAINING - 1):
            return JSONResponse(await in_time(answer()))

    @app.get("/health", response_description="success")
    async def health() -> dict[str, Any]:
        """Return the status, the model and the number of images in the service."""
        return {"status": "ok", "model": about, "inside": batcher.inside}

    @app.get("/metrics", response_class=Response, response_description="success")
    async def show_metrics() -> Response:
        """Return counters of requests, images, batches and times, in the text format of Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    page = render_page(metadata, network is not None, limits, [sample.label for sample in samples])

    @app.get("/", include_in_schema=False)
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers={"content-security-policy": CONTENT_SECURITY_POLICY})

    api = render_api(app.openapi())

    @app.get("/docs", include_in_schema=False)
    async def show_api() -> HTMLResponse:
        return HTMLResponse(api, headers={"content-security-policy": CONTENT_SECURITY_POLICY})

    @app.get("/samples/{number}.jpg", include_in_schema=False)
    async def sample(number: int) -> Response:
        if not 0 <= number < len(samples):
            raise Refused(404, "sample not found")
        return Response(samples[number].content, media_type="image/jpeg")

    filters = encoded(views.filters(network), "PNG") if network is not None else None

    @app.get("/filters.png", include_in_schema=False)
    async def show_filters() -> Response:
        if filters is None:
            raise Refused(404, "an exported model does not show its filters; serve its run or a checkpoint")
        return Response(filters, media_type="image/png")

    return app


async def read_images(request: Request, limits: Limits) -> list[tuple[str, Content]]:
    """Return the images of a request with their names: files of a form, base64 in JSON, or the body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    images: list[tuple[str, Content]] = []
    if kind == "multipart/form-data":
        try:
            async with request.form(max_files=limits.images + 1, max_fields=limits.images) as form:
                files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
                images = [(_name(file, n), await file.read()) for n, file in enumerate(files, start=1)]
        except UnicodeError:
            raise Refused(400, "the form's charset is unreadable; send UTF-8") from None
    elif kind == "application/json":
        try:
            found = json.loads(await request.body())
            texts = found["images"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Refused(422, 'the body must be JSON such as {"images": ["BASE64", …]}') from None
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise Refused(422, '"images" must be a list of base64 strings')
        images = [(f"image {n}", text) for n, text in enumerate(texts, start=1)]
    elif kind.startswith("image/") or kind == "application/octet-stream":
        body = await request.body()
        images = [("image 1", body)] if body else []
    else:
        raise Refused(415, "send images as multipart/form-data, base64 as application/json, or a file as image/jpeg")
    if not images:
        raise Refused(422, "the request has no image; send one")
    if len(images) > limits.images:
        raise Refused(413, f"more than {limits.images} images in a request; send several requests")
    return images


def _name(file: UploadFile, number: int) -> str:
    """Return a file's name for the response, without characters that UTF-8 cannot encode."""
    return (file.filename or f"image {number}").encode("utf-8", "replace").decode()
