"""The routes of the HTTP API, and of the page."""

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathOf
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

from mnistry.errors import MnistryError, UsageError
from mnistry.server import bodies, inside, shapes
from mnistry.server.browse import Browser, Order
from mnistry.server.drawings import Drawings
from mnistry.server.guard import Metrics
from mnistry.server.models import DEFAULT, Models
from mnistry.server.readers import Readers
from mnistry.server.reading import Asked
from mnistry.server.settings import Settings, is_this_machine
from mnistry.server.trainings import Trainings
from mnistry.server.work import Desk, call_all
from mnistry.workers import cores

_PAGE = Path(__file__).with_name("page")
_TYPES = ("image/", "application/pdf", "application/octet-stream")
_FORM = "multipart/form-data"
_BLANK = b"P5 8 8 255\n" + b"\xff" * 64  # an image that is read in no time
_AT_A_TIME = 16  # images that are read together, if so many wait
_IMAGE = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/pdf": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
_PIXELS = {
    "type": "array",
    "description": "Rows of 28 pixels, 0 ground to 255 ink, normalised as MNIST's.",
    "minItems": 28,
    "maxItems": 28,
    "items": {
        "type": "array",
        "minItems": 28,
        "maxItems": 28,
        "items": {"type": "integer", "minimum": 0, "maximum": 255},
    },
}

_PROBLEM = {
    "description": "What was found, what was expected, and what to do: 400 no request, 401 the "
    "token is wrong, 403 not from here, 404 there is none, 405 not this method, 408 too slow, 409 "
    "something else is being done, 413 too large, 415 of another type, 421 of another host, 422 "
    "not to be used, 431 headers too large, 500 a network that cannot be used, or a bug, 501 not "
    "installed, 503 too much at once (ask again after Retry-After), 507 no place to write.",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            }
        }
    },
}
_TRAINING = {
    "preset": {"type": ["string"], "description": "One of those in GET /v1/trainings."},
    "epochs": {"type": ["integer", "null"], "description": "1 to 1,000; by default the preset's."},
    "learning_rate": {"type": ["number", "null"], "description": "Above 0."},
    "units": {"type": ["integer", "null"], "description": "Of each hidden dense layer, to 4,096."},
}
_NAME = Annotated[str, PathOf(max_length=200)]

Model = Annotated[str, Query(max_length=200, description="One of /v1/models.")]
Part = Literal["train", "test"]


def _answer(shape: type, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """What a route answers, for the OpenAPI document."""
    return {status: {"model": shape}}


def _several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": bodies.MOST_IMAGES}


def _body(properties: dict[str, Any]) -> dict[str, Any]:
    """That a route takes JSON with these fields, for the OpenAPI document."""
    schema = {"type": "object", "required": list(properties)[:1], "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


class Service:
    """What the routes share: networks, threads, and folders."""

    def __init__(self, settings: Settings, metrics: Metrics, registry: CollectorRegistry) -> None:
        self.settings, self.metrics, self.registry = settings, metrics, registry
        self.models = Models(settings.reader, settings.runs)
        most, seconds = settings.max_waiting, settings.seconds
        count = max(1, cores() // settings.workers)
        self.readers = Readers(count, self.models, settings.reader, settings.runs, seconds / 2)
        self.images = Desk(
            self.readers.read_all,
            threads=count,
            at_a_time=_AT_A_TIME,
            max_waiting=most,
            seconds=seconds,
        )
        # what may take long, as reading a whole set does, keeps no image waiting
        self.others = Desk(
            call_all, threads=cores(), at_a_time=1, max_waiting=most, seconds=seconds
        )
        self.drawings = Drawings(settings.drawings)
        self.trainings = Trainings(settings.runs, settings.data)
        self.browser = Browser()

    def close(self) -> None:
        """Answer what is being read, and stop what is being trained."""
        self.images.close()
        self.readers.close()
        self.others.close()
        self.trainings.close()

    def may_train(self, request: Request) -> bool:
        """Whether whoever asks may start a training: this machine, or anyone if so told."""
        hosts = [request.client.host if request.client else "", request.url.hostname or ""]
        is_passed_on = any(map(_is_of_proxy, request.headers))
        is_here = all(map(is_this_machine, hosts)) and not is_passed_on
        return self.settings.allow_training or is_here

    def check_may_train(self, request: Request) -> None:
        """Refuses other machines."""
        if not self.may_train(request):
            raise HTTPException(
                403,
                "trainings are started and stopped from the machine that serves alone; start the "
                "server with --allow-training if others may",
            )


def routes(service: Service) -> APIRouter:
    """All of them."""
    api = APIRouter(responses={"4XX": _PROBLEM, "5XX": _PROBLEM})
    models, run = service.models, service.others.ask

    @api.post("/v1/read", responses=_answer(shapes.Reading), openapi_extra=_IMAGE)
    async def read(
        request: Request,
        single: Annotated[bool, Query(description="The image is the crop of one digit.")] = False,
        min_confidence: Annotated[
            float | None, Query(ge=0, le=1, description="Less sure is null.")
        ] = None,
        seen: Annotated[bool, Query(description="With what the network saw: 28 x 28.")] = False,
        model: Model = DEFAULT,
    ) -> Response:
        """Read the digits of an image: its bytes as the body, or as the field `image` of a form.

        The answer is what `mnistry predict --json` prints: the text, and for each digit its label
        (null where it is not sure), confidence, box, page, line and ten probabilities.
        """
        asked = Asked(model, single, min_confidence, seen, service.settings.max_pages)
        found = await service.images.ask((await _image(request), asked))
        service.metrics.digits.inc(found.digits)
        return Response(found.json, media_type="application/json")

    @api.post(
        "/v1/classify",
        responses=_answer(shapes.Answers),
        openapi_extra=_body({"images": _several(_PIXELS)}),
    )
    async def classify(request: Request, model: Model = DEFAULT) -> Response:
        """Say what images of 28 x 28 pixels are: 0 ground to 255 ink, normalised as MNIST's."""
        body = await _json(request)
        return JSONResponse(await run(lambda: bodies.classify(models.network(model), body)))

    @api.get("/v1/models", responses=_answer(shapes.Models))
    async def list_models() -> Response:
        """The networks that read: the default first, then those trained here."""
        return JSONResponse({"models": await run(models.describe)})

    @api.get("/v1/drawings", responses=_answer(shapes.Drawings))
    async def count_drawings() -> Response:
        """Where drawings with their labels are kept, and how many there are."""
        return JSONResponse(await run(service.drawings.to_dict))

    @api.post(
        "/v1/drawings",
        status_code=201,
        responses=_answer(shapes.Kept, 201),
        openapi_extra=_IMAGE,
    )
    async def keep_drawing(request: Request, label: Annotated[int, Query(ge=0, le=9)]) -> Response:
        """Keep a drawing with its right label, for `mnistry correct`. Nothing else is stored."""
        image = await _image(request)
        return JSONResponse(await run(lambda: service.drawings.keep(image, label)), 201)

    @api.delete("/v1/drawings/{label}/{name}", responses=_answer(shapes.Drawings))
    async def take_back_drawing(label: Annotated[int, PathOf(ge=0, le=9)], name: _NAME) -> Response:
        """Remove a drawing that was kept with a wrong label."""
        return JSONResponse(await run(lambda: service.drawings.remove(label, name)))

    @api.post(
        "/v1/inside",
        responses=_answer(shapes.Inspection),
        openapi_extra=_body({"image": _PIXELS}),
    )
    async def look_inside(request: Request, model: Model = DEFAULT) -> Response:
        """What goes on in the network: two layers' activations, and what spoke for the answer."""
        body = await _json(request)

        def look() -> dict[str, Any]:
            image = bodies.images_of(body, "image", 2)
            return inside.look_inside(models.network(model), image).to_dict()

        return JSONResponse(await run(look))

    @api.get("/v1/sets", responses=_answer(shapes.Sets))
    async def list_sets() -> Response:
        """The sets of digits that can be looked at."""
        return JSONResponse({"sets": await run(service.browser.sets)})

    @api.get("/v1/sets/{name}/{part}", responses=_answer(shapes.Part))
    async def browse(
        name: _NAME,
        part: Part,
        order: Order = "as-is",
        label: Annotated[int | None, Query(ge=0, le=9)] = None,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 40,
        model: Model = DEFAULT,
    ) -> Response:
        """Images of a set, and what the network says of each: as they are, or the worst first."""

        def look() -> dict[str, Any]:
            network = models.network(model)
            return service.browser.browse(network, name, part, order, label, offset, limit)

        return JSONResponse(await run(look))

    @api.get("/v1/trainings", responses=_answer(shapes.Trainings))
    async def list_trainings(request: Request) -> Response:
        """What can be trained, and what was."""
        found = await run(service.trainings.to_dict)
        return JSONResponse(found | {"allowed": service.may_train(request)})

    @api.post(
        "/v1/trainings",
        status_code=201,
        responses=_answer(shapes.Training, 201),
        openapi_extra=_body(_TRAINING),
    )
    async def start_training(request: Request) -> Response:
        """Train a network, in a process of its own."""
        service.check_may_train(request)
        body = await _json(request)

        def start() -> dict[str, Any]:
            return service.trainings.start(**bodies.fields_of(body, _TRAINING)).to_dict()

        return JSONResponse(await run(start), 201)

    @api.get("/v1/trainings/{name}", responses=_answer(shapes.Training))
    async def look_at_training(name: _NAME) -> Response:
        """How far a training is, and its curves."""
        return JSONResponse(await run(lambda: service.trainings.get(name).to_dict()))

    @api.delete("/v1/trainings/{name}", status_code=202, responses=_answer(shapes.Training, 202))
    async def stop_training(request: Request, name: _NAME) -> Response:
        """Ask a training to stop; the epochs that it has finished are kept."""
        service.check_may_train(request)
        return JSONResponse(await run(lambda: service.trainings.stop(name).to_dict()), 202)

    @api.get("/healthz", responses=_answer(shapes.Health))
    async def healthy() -> Response:
        """Whether the process answers."""
        return JSONResponse({"status": "ok"})

    @api.get("/readyz", responses=_answer(shapes.Health))
    async def ready() -> Response:
        """Whether it can read: it reads a small image."""
        try:
            await service.images.ask((_BLANK, Asked(DEFAULT)))
        except MnistryError as error:
            told = f"no image can be read: {error}"
            raise HTTPException(503, told, {"retry-after": "5"}) from None
        return JSONResponse({"status": "ok"})

    @api.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """What is counted, in Prometheus's form."""
        return Response(generate_latest(service.registry), media_type=CONTENT_TYPE_LATEST)

    @api.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_PAGE / "index.html")

    @api.get("/docs", include_in_schema=False)
    async def documentation() -> Response:
        return FileResponse(_PAGE / "docs.html")

    return api


def _is_of_proxy(header: str) -> bool:
    return "forwarded" in header or header in ("via", "x-real-ip")


async def _json(request: Request) -> bytes:
    """The JSON that a request sends."""
    kind = request.headers.get("content-type", "application/json").lower()
    if not kind.startswith("application/json"):
        raise HTTPException(
            415, f"the body is {kind:.60}, expected JSON: send it as application/json"
        )
    return await request.body()


async def _image(request: Request) -> bytes:
    """The image that a request sends."""
    kind = request.headers.get("content-type", "application/octet-stream").lower()
    if kind.startswith(_FORM):
        async with request.form(max_files=1, max_fields=10) as form:
            file = form.get("image")
            if file is None or isinstance(file, str):
                raise UsageError("the form has no file named image, expected one")
            return await file.read()
    if not kind.startswith(_TYPES):
        raise HTTPException(
            415,
            f"the body is {kind:.60}, expected an image or a PDF: send it as image/png or the "
            f"like, as application/octet-stream, or in the field image of {_FORM}",
        )
    return await request.body()
