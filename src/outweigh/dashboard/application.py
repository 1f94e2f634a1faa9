"""The web application that `outweigh serve` runs: today the Carbon Aware API."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp

from outweigh import __version__
from outweigh.app.carbon_aware import CarbonAnswers
from outweigh.dashboard.carbon_aware import AsTheSdkReads, answer_problems, router


def create(answers: CarbonAnswers) -> ASGIApp:
    """The application. It serves no pages that fetch anything from elsewhere; `/openapi.json` describes it."""
    app = FastAPI(
        title="Outweigh: Carbon Aware API", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    answer_problems(app)
    app.include_router(router(answers))
    return AsTheSdkReads(app)
