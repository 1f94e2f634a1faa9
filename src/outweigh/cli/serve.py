"""`outweigh serve`: the Carbon Aware API on this machine."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note
from outweigh.core.errors import MissingExtra


@click.command("serve", epilog="Example: outweigh serve --port 8080 --file my-region.csv")
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine only.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Where to listen; 0 for a free one."
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
@click.option("--demo", is_flag=True, help="A typical day of 2022, marked so, where there is no forecast (US zones).")
@json_option
def command(
    host: str,
    port: int,
    sources: tuple[str, ...],
    files: tuple[Path, ...],
    archive: Path | None,
    declared: tuple[str, ...],
    demo: bool,
    as_json: bool,
) -> None:
    """Serve the Web API of the GSF Carbon Aware SDK, so that its clients work with what is known here, offline too.

    Answers /emissions/bylocation, /bylocations, /bylocations/best, /forecasts/current, /forecasts/batch,
    /average-carbon-intensity and its /batch, /locations and /health (docs/carbon-aware-api.md). Prints the address once
    it listens, and ends on Ctrl-C.
    """
    from outweigh.app.serving import open_answers, serve

    answers = open_answers(sources=sources, files=files, archive=archive, declared=declared, demo=demo)

    def started(url: str) -> None:
        if as_json:
            echo_json([{"url": url}])
        else:
            click.echo(url)
        note("the Carbon Aware API listens there, for this machine only; Ctrl-C ends it")

    serve(_application().create(answers), host, port, started=started)


def _application() -> Any:
    # The doors do not import each other: like a verb, the web's is found by its name.
    try:
        return importlib.import_module("outweigh.dashboard.application")
    except ModuleNotFoundError as err:
        if (err.name or "").startswith("outweigh"):
            raise
        raise MissingExtra(err.name or "fastapi", "outweigh serve", "Run: pip install 'outweigh[serve]'") from err
