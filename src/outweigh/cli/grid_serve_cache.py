"""`outweigh grid serve-cache`: record a provider's answers, and replay them offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note


@click.command("serve-cache", epilog="Example: outweigh grid serve-cache fixtures --source neso --port 8321")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--source", required=True, metavar="NAME", help="The source it stands in for.")
@click.option("--upstream", default="", metavar="URL", help="Where to pass requests on to; the provider by default.")
@click.option("--offline", is_flag=True, help="Replay only: what was never recorded is a 504.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; a free one by default.")
@json_option
def serve_cache(folder: Path, source: str, upstream: str, offline: bool, port: int, as_json: bool) -> None:
    """Stand in for a provider on this machine: record its answers into DIR, or replay them.

    Prints the variable that points the source at it, and ends on Ctrl-C. Keys are passed on and never written.
    """
    from outweigh.app.grid_serve_cache import serve_cache

    def started(where: dict[str, Any]) -> None:
        if as_json:
            echo_json([where])
        else:
            click.echo(f"{where['variable']}={where['url']}")
        onward = f"passing on to {', '.join(where['upstream'])}" if where["upstream"] else "offline"
        note(f"{where['recorded']} answers of {source} in {where['folder']}; {onward}; Ctrl-C ends")

    done = serve_cache(folder, source, upstream=upstream, offline=offline, port=port, started=started)
    note(f"{done.kept} answers kept, {done.replayed} replayed")
    for asked in dict.fromkeys(done.unknown):
        note(f"never recorded: {asked}")
