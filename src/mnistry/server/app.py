"""The application: what is loaded once, what stands before every request, and the routes."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.middleware.cors import CORSMiddleware

from mnistry.server.api import Service, routes
from mnistry.server.guard import Guard, Metrics
from mnistry.server.problems import explain_errors
from mnistry.server.settings import Settings
from mnistry.version import __version__

_PAGE = Path(__file__).with_name("page")


class _Processes(MultiProcessCollector):
    """Counts what several processes count, without those that have ended in the middle of it."""

    def __init__(self, folder: str) -> None:
        super().__init__(None, folder)  # type: ignore[no-untyped-call]
        self.folder = Path(folder)

    def collect(self) -> Any:
        for file in self.folder.glob("gauge_live*_*.db"):
            pid = int(file.stem.rpartition("_")[2])
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                mark_process_dead(pid, str(self.folder))  # type: ignore[no-untyped-call]
        return super().collect()  # type: ignore[no-untyped-call]


def _document(app: FastAPI) -> None:
    """Say in the OpenAPI document that a token may be asked for."""
    made = app.openapi

    def document() -> dict[str, Any]:
        found = made()
        kinds = found.setdefault("components", {})
        kinds["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{}, {"token": []}]  # by --token alone
        return found

    app.openapi = document  # type: ignore[method-assign]


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
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):  # several processes count, in files
        registry = CollectorRegistry()
        registry.register(_Processes(folder))
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
    _document(app)
    explain_errors(app)
    app.include_router(routes(service))
    app.mount("/static", StaticFiles(directory=_PAGE), name="page")
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    if settings.origins:  # outermost: what a browser asks beforehand has no token
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["*"],
            allow_headers=["authorization", "content-type"],
        )
    return app
