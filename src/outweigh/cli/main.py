"""The command line's front door: finds the verb, turns typed errors into a message and an exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from outweigh import __version__
from outweigh.cli.shown import note
from outweigh.cli.streams import make_ready
from outweigh.cli.verbs import VERBS
from outweigh.core.errors import OutweighError

_SIGINT_CODE, _SIGPIPE_CODE, _SIGTERM_CODE = 130, 141, 143  # 128 + signal, as a shell reports it
_BY_NAME = {verb.name: verb for verb in VERBS}


class _Verbs(click.Group):
    """A group that lists every verb and imports only the one that is typed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb.name for verb in VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = _BY_NAME.get(cmd_name)
        if verb is None:
            return None
        command = importlib.import_module(f"outweigh.cli.{verb.module}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as err:
            # The reader went away (`| head`), and nobody is left to tell. click itself would end with 1, which is a
            # verdict of ours, and 0 would be one, too.
            _stop_writing()
            raise click.exceptions.Exit(_SIGPIPE_CODE) from err

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _BY_NAME and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _BY_NAME, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " `outweigh --help` lists the verbs."
            raise click.UsageError(f"there is no verb {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(verb.name, verb.summary) for verb in VERBS]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start here: outweigh review examples/news-triage",
)
@click.version_option(__version__, prog_name="outweigh")
def cli() -> None:
    """Energy as a first-class engineering budget for AI.

    Measures, compares, tries cheaper ways, weighs, plans when and where, and keeps the record.

    Exit codes: 0 pass, 1 budget or rule breached, 2 usage or configuration, 3 measurement unusable,
    4 factor missing or stale, 5 inconclusive.
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; never shows a traceback for an error we know."""
    # A scheduler's SIGTERM ends a run as Ctrl-C does: the receipt of the run in flight is kept as interrupted.
    signal.signal(signal.SIGTERM, _told_to_stop)
    make_ready()
    sys.exit(run(argv))


class _ToldToStop(KeyboardInterrupt):
    """SIGTERM, on its way up through whatever keeps things tidy on Ctrl-C."""

    #: An engine may swallow the exception and raise its own (DuckDB does); that it was SIGTERM stays true.
    said = False


def _told_to_stop(_signal: int, _frame: object) -> NoReturn:
    _ToldToStop.said = True
    raise _ToldToStop


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code instead of exiting."""
    try:
        result = cli.main(args=argv, prog_name="outweigh", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as err:
        err.show()
        return err.exit_code
    except OutweighError as err:
        note(f"outweigh: {err}")
        return err.exit_code
    except (KeyboardInterrupt, click.Abort) as stop:
        click.echo("outweigh: interrupted; nothing that was measured is lost.", err=True)
        return _SIGTERM_CODE if _ToldToStop.said or isinstance(stop, _ToldToStop) else _SIGINT_CODE
    except BrokenPipeError:
        _stop_writing()
        return _SIGPIPE_CODE
    except OSError as err:
        # Standard output is full or gone; files of ours raise typed errors before they come here.
        click.echo(
            f"outweigh: the system refused: {err.strerror or err}. Check the disk or where output goes.", err=True
        )
        _stop_writing()
        return 2


def _stop_writing() -> None:
    """Point standard output at nothing: Python would complain again when it flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
