"""`--question` of the grid's verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def question_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which carbon intensity, where a source publishes several."""
    return click.option(
        "--question", default="", metavar="WORDS", help="Which carbon: lifecycle-production, direct-consumption ..."
    )(function)
