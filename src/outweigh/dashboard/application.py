"""The web application that `outweigh serve` runs: pages, the REST API, the Carbon Aware API, behind one gate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from outweigh import __version__
from outweigh.app.carbon_aware import CarbonAnswers
from outweigh.app.serving import Served, Settings, open_served
from outweigh.app.serving.receiving import KeyReused
from outweigh.app.serving.settings import VARIABLE
from outweigh.core.errors import OutweighError
from outweigh.dashboard import carbon_aware, pages, problems
from outweigh.dashboard.api import access, documents, metrics, receipts, shapes
from outweigh.dashboard.guard.asking import Askers
from outweigh.dashboard.guard.gate import Gate

_TITLE = "Outweigh"


def create(served: Served, *, wide: bool = False, names: tuple[str, ...] = (), per_minute: int = 1200) -> ASGIApp:
    """The application. It serves no pages that fetch anything from elsewhere; `/openapi.json` describes it.

    Args:
        wide: whether others than this machine can connect: then everybody shows a token.
        names: host names that requests may be for, beside those of this machine.
        per_minute: requests by token or address, of this worker; 0 without limit.
    """
    askers = Askers(served.access, wide=wide, now=served.now)
    gate = Gate(
        routed(served, askers),
        served.access,
        askers,
        wide=wide,
        names=names,
        per_minute=per_minute,
        now=served.now,
    )
    # Before the gate, since it rewrites paths: the gate's rules must see those that the routes see.
    return carbon_aware.AsTheSdkReads(gate)


def of_settings() -> ASGIApp:
    """The application of one of several workers, by the settings whose file the environment names."""
    settings = Settings.kept(Path(os.environ[VARIABLE]))
    return create(open_served(settings), wide=settings.wide, names=settings.names, per_minute=settings.per_minute)


def carbon_aware_alone(answers: CarbonAnswers) -> ASGIApp:
    """The Carbon Aware API and nothing else, with nobody at the gate: for tests of it, and for embedding."""
    app = _empty("Outweigh: Carbon Aware API")
    _answer_problems(app)
    app.include_router(carbon_aware.router(answers))
    return carbon_aware.AsTheSdkReads(app)


def routed(served: Served, askers: Askers) -> FastAPI:
    """All routes, without the gate."""
    app = _empty(_TITLE)
    _answer_problems(app)
    app.include_router(carbon_aware.router(served.answers), tags=["carbon aware"], responses=carbon_aware.RESPONSES)
    app.include_router(receipts.router(served))
    app.include_router(documents.router(served))
    app.include_router(access.router(served, askers))
    app.include_router(access.browser_router(askers))
    app.include_router(metrics.router(served))
    app.include_router(pages.routes(served), responses=problems.documented())
    describe = app.openapi
    app.openapi = lambda: app.openapi_schema or _described(app, describe())  # type: ignore[method-assign]
    return app


def _empty(title: str) -> FastAPI:
    return FastAPI(title=title, version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)


def _described(app: FastAPI, schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI with the shapes of what is read from the body's bytes, and how one says who one is."""
    parts = schema.setdefault("components", {}).setdefault("schemas", {})
    for shape in (shapes.ReceiptsIn, shapes.TokenIn):
        found = shape.model_json_schema(ref_template="#/components/schemas/{model}")
        parts |= found.pop("$defs", {})
        parts[shape.__name__] = found
    parts["Problem"] = problems.SCHEMA
    parts["CarbonAwareProblem"] = carbon_aware.PROBLEM_SCHEMA
    schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"token": []}, {}]
    app.openapi_schema = schema
    return schema


def _answer_problems(app: FastAPI) -> None:
    """Every refusal as a problem document; the Carbon Aware API's as its clients know them. No tracebacks."""

    def of_sdk(request: Request) -> bool:
        return carbon_aware.is_of_the_sdk(request.url.path)

    @app.exception_handler(carbon_aware.Refused)
    def refused(_: Request, err: carbon_aware.Refused) -> Response:
        return carbon_aware.refused(err)

    @app.exception_handler(problems.Problem)
    def told(_: Request, err: problems.Problem) -> Response:
        return err.response()

    @app.exception_handler(RequestValidationError)
    def unbound(request: Request, err: RequestValidationError) -> Response:
        if of_sdk(request):
            return carbon_aware.unbound(err)
        errors = [
            {"field": ".".join(str(part) for part in one["loc"][1:]), "problem": str(one["msg"])}
            for one in err.errors()[:20]
        ]
        detail = "; ".join(f"{one['field']}: {one['problem']}" for one in errors)
        return problems.problem(422, detail, "Mend the fields in `errors`; /openapi.json describes them", errors=errors)

    @app.exception_handler(KeyReused)
    def reused(_: Request, err: KeyReused) -> Response:
        return problems.problem(422, str(err), err.remedy)

    @app.exception_handler(OutweighError)
    def failed(request: Request, err: OutweighError) -> Response:
        return carbon_aware.failed(err) if of_sdk(request) else problems.of_error(err)

    @app.exception_handler(HTTPException)
    def unrouted(request: Request, err: HTTPException) -> Response:
        if of_sdk(request):
            return carbon_aware.unrouted(request, err)
        detail = f"{request.method} {request.url.path[:200]} is not part of this server"
        return problems.problem(
            err.status_code, detail, "/openapi.json lists what there is", headers=dict(err.headers or {})
        )

    @app.exception_handler(Exception)
    def broken(_: Request, __: Exception) -> Response:
        # The server's log has the traceback; whoever asked gets none of it.
        return problems.problem(500, "the server failed at this", "Look at its log, and report it")
