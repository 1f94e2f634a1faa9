"""`outweigh serve`: the dashboard, the REST API and the Carbon Aware API; and the tokens of those who may ask."""

from __future__ import annotations

import importlib
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outweigh.cli.serve_token import token
from outweigh.cli.shown import echo_json, json_option, note, progress
from outweigh.core.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from outweigh.app.serving import Settings


@click.group("serve", invoke_without_command=True, epilog="Example: outweigh serve --port 8080 --file my-region.csv")
@click.option(
    "--project",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="Folder of the project; this one by default.",
)
@click.option("--ledger", default="", help="Ledger file or postgresql:// URL; that of the project by default.")
@click.option(
    "--fleet", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of a fleet's minute samples."
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; wider than this machine needs a token."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Where to listen; 0 for a free one."
)
@click.option("--name", "names", multiple=True, help="A host name it is reached by, through a proxy say; repeatable.")
@click.option("--behind", default="", metavar="ADDRESS", help="Believe the X-Forwarded headers of that proxy.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes; for a PostgreSQL ledger."
)
@click.option(
    "--per-minute",
    type=click.IntRange(0, 1_000_000),
    default=1200,
    show_default=True,
    help="Requests by token or address, of each worker; 0 without limit.",
)
@click.option(
    "--source", "sources", multiple=True, metavar="NAME[:ARG]", help="Ask this source first; may be repeated."
)
@click.option(
    "--file", "files", multiple=True, type=click.Path(path_type=Path), help="Your own CSV or Parquet (docs/grid.md)."
)
@click.option(
    "--archive", type=click.Path(path_type=Path), help="Folder of a local archive, as `outweigh grid fetch` builds it."
)
@click.option(
    "--declare",
    "declared",
    multiple=True,
    metavar="ZONE=FIGURE",
    help='Where nothing else answers: "DE=230 gCO2e/kWh".',
)
@click.option(
    "--export", type=click.Path(path_type=Path, file_okay=False), help="Write the pages as files into DIR, and end."
)
@click.option("--demo", is_flag=True, help="A typical day of 2022, marked so, where there is no forecast (US zones).")
@json_option
@click.pass_context
def command(
    context: click.Context,
    folder: Path,
    ledger: str,
    fleet: Path | None,
    host: str,
    port: int,
    names: tuple[str, ...],
    behind: str,
    workers: int,
    per_minute: int,
    sources: tuple[str, ...],
    files: tuple[Path, ...],
    archive: Path | None,
    declared: tuple[str, ...],
    export: Path | None,
    demo: bool,
    as_json: bool,
) -> None:
    """Serve the dashboard, the REST API (/openapi.json), the GSF Carbon Aware SDK's API and Prometheus' /metrics.

    On this machine everybody may read until a token is made; to write, and to listen wider with --host, takes one
    (`outweigh serve token create`). Prints the address once it listens, and ends on Ctrl-C. docs/serve.md.
    """
    if context.invoked_subcommand is not None:
        return
    from outweigh.app.serving import Settings, start

    def started(url: str) -> None:
        if as_json:
            echo_json([{"url": url}])
        else:
            click.echo(url)
        note("it listens there; Ctrl-C ends it")

    settings = Settings(
        folder=str(folder),
        ledger=ledger,
        fleet=str(fleet or ""),
        sources=sources,
        files=tuple(map(str, files)),
        archive=str(archive or ""),
        declared=declared,
        demo=demo,
        names=names,
        per_minute=per_minute,
    )
    if export is not None:
        _export(settings, export, as_json=as_json)
        return
    with ExitStack() as opening:
        shown = opening.enter_context(progress("opening"))

        def listening(url: str) -> None:
            opening.close()
            started(url)

        start(
            _application, settings, host, port,
            workers=workers, behind=behind, started=listening, told=note, progress=shown,
        )  # fmt: skip


def _export(settings: Settings, folder: Path, *, as_json: bool) -> None:
    from outweigh.app.serving import open_served
    from outweigh.app.serving.served import has_ledger

    if not has_ledger(settings):
        raise UsageError("there is no energy.toml here and no ledger: nothing to copy", "Name one: --project, --ledger")
    with closing(open_served(settings)) as served, progress("copy") as told:
        written = _dashboard("pages.exporting").export(served, folder, told=told)
    if as_json:
        echo_json([{"file": str(path)} for path in written])
    else:
        click.echo(str(folder / "index.html"))
        note(f"{len(written)} files; they open without a server")


def _application() -> Any:
    return _dashboard("application")


def _dashboard(module: str) -> Any:
    # The doors do not import each other: like a verb, the web's is found by its name.
    try:
        return importlib.import_module(f"outweigh.dashboard.{module}")
    except ModuleNotFoundError as err:
        if (err.name or "").startswith("outweigh"):
            raise
        raise MissingExtra(err.name or "fastapi", "outweigh serve", "Run: pip install 'outweigh[serve]'") from err


command.add_command(token)
