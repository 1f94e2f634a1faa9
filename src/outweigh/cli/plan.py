"""`outweigh plan`: one verb, several questions, told apart by a flag. Each has a file and a help of its own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import click

#: Flag -> file of the question it asks; without one of them it is the plan of a file of jobs.
QUESTIONS: Mapping[str, str] = {
    "--energy": "plan_month",
    "--scenarios": "plan_scenarios",
    "--place": "plan_place",
    "--backtest": "plan_backtest",
    "--check": "plan_check",
    "--replay": "plan_replay",
    "--emit": "plan_emit",
}
_JOBS = "plan_jobs"


class _Plan(click.Command):
    """Hands over to the question that is asked, before anything is parsed."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        given = {arg.partition("=")[0] for arg in takewhile(lambda arg: arg != "--", args)}
        flag = next((flag for flag in QUESTIONS if flag in given), "")
        if given & {"-h", "--help"}:
            args = ["--help"]  # which a flag before it would take for its value
        return self.question(flag).make_context(info_name, args, parent, **extra)

    def get_help(self, ctx: click.Context) -> str:
        return self.question("").get_help(ctx)

    def question(self, flag: str) -> click.Command:
        """The command that answers it; "" is the plan of a file of jobs."""
        command = importlib.import_module(f"outweigh.cli.{QUESTIONS.get(flag, _JOBS)}").command
        assert isinstance(command, click.Command)
        return command


command = _Plan("plan")
