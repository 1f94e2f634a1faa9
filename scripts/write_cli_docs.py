"""Writes docs/cli.md from the --help texts; with --check, fails when the page is out of date."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click

from outweigh.cli import plan
from outweigh.cli.main import cli
from outweigh.cli.verbs import VERBS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"


def help_text(command: click.Command, path: str, parent: click.Context | None = None) -> str:
    context = click.Context(command, info_name=path, parent=parent, terminal_width=100, max_content_width=100)
    return command.get_help(context)


def section(command: click.Command, path: str, depth: int) -> list[str]:
    lines = [f"{'#' * depth} {path}", "", "```text", help_text(command, path), "```", ""]
    if isinstance(command, click.Group) and command is not cli:
        for name in sorted(command.commands):
            lines += section(command.commands[name], f"{path} {name}", depth + 1)
    if command is plan.command:
        for flag in plan.QUESTIONS:
            lines += section(plan.command.question(flag), f"{path} {flag}", depth + 1)
    return lines


def page() -> str:
    lines = ["# Command line", "", "Written by `make docs` from the `--help` texts; do not edit by hand.", ""]
    lines += section(cli, "outweigh", 2)
    context = click.Context(cli)
    for verb in VERBS:
        command = cli.get_command(context, verb.name)
        assert command is not None
        lines += section(command, f"outweigh {verb.name}", 2)
    return "\n".join(line.rstrip() for line in lines)


def main() -> int:
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    kept = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if kept == text:
        return 0
    sys.stdout.writelines(difflib.unified_diff(kept.splitlines(True), text.splitlines(True), "docs/cli.md", "--help"))
    print("docs/cli.md is out of date: run `make docs`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
