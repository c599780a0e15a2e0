"""Every error as one JSON object, application/problem+json (RFC 9457), that says what to do."""

import http
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mnistry.errors import (
    BusyError,
    DependencyError,
    LimitError,
    MissingError,
    MnistryError,
    ModelError,
    StorageError,
)

_STATUS: dict[type[MnistryError], int] = {  # the first that fits; others are 422
    BusyError: 409,
    LimitError: 413,
    MissingError: 404,
    ModelError: 500,
    DependencyError: 501,
    StorageError: 507,
}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that says what is wrong, and what to do about it."""
    content = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JSONResponse(content, status, dict(headers or {}), "application/problem+json")


def explain_errors(app: FastAPI) -> None:
    """Make every error of an application a problem."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = str(error.detail)
        if detail == http.HTTPStatus(error.status_code).phrase:  # the router's own
            found = f"{request.method} {request.url.path:.80}"
            detail = f"{found}: {detail.lower()}; what there is stands at /docs"
        return problem(error.status_code, detail, error.headers)

    async def own(_: Request, error: Exception) -> Response:
        usual = 500 if type(error) is MnistryError else 422  # what is of no kind is no request's
        status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), usual)
        return problem(status, str(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "the body"
        return problem(422, f"{name}: {first['msg']}")

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(MnistryError, own)
    app.add_exception_handler(RequestValidationError, invalid)
