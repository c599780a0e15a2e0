"""The application: what is loaded once, what stands before every request, and the routes."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.middleware.cors import CORSMiddleware

from mnistry.server.api import Service, routes
from mnistry.server.guard import Guard, Metrics
from mnistry.server.problems import explain_errors
from mnistry.server.settings import Settings
from mnistry.version import __version__

_PAGE = Path(__file__).with_name("page")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The web page and the HTTP API as an ASGI application.

    Args:
        settings: What it is told; all defaults if left out.

    Raises:
        ModelError: Its reader cannot be used.
    """
    settings = settings or Settings()
    own = CollectorRegistry()
    registry = own
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # several processes count together, in files
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    metrics = Metrics(own)
    service = Service(settings, metrics, registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            service.close()

    app = FastAPI(
        title="Mnistry",
        version=__version__,
        summary="Reads handwritten digits.",
        docs_url=None,  # their pages load from other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    explain_errors(app)
    app.include_router(routes(service))
    app.mount("/static", StaticFiles(directory=_PAGE), name="page")
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["*"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    return app
