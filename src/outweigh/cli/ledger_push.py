"""`outweigh ledger push`: this machine's receipts to a server, with a queue on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, progress

_REFUSED = 3
_MOST_S = 1e6  # eleven days


class _Seconds(click.FloatRange):
    """A time that can be slept: to click `nan` lies in every range, and no clock waits for 1e300 s."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if not seconds <= _MOST_S:
            self.fail(f"{value!r} is no time to wait: give at most {_MOST_S:g} seconds", param, ctx)
        return seconds


@click.command("push", epilog="Example: OUTWEIGH_TOKEN=$(cat token) outweigh ledger push https://energy.example.org")
@click.argument("url")
@click.option("--follow", is_flag=True, help="Keep pushing what the ledger gets, until Ctrl-C or SIGTERM.")
@click.option(
    "--every",
    "every_s",
    type=_Seconds(min=0.1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How often --follow looks for new receipts.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File that holds the token and nothing else; the variable OUTWEIGH_TOKEN by default.",
)
@click.option(
    "--patience",
    "patience_s",
    type=_Seconds(min=0.0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to retry a server that is away or busy before giving up (--follow goes on by itself).",
)
@click.option("--ca", type=click.Path(path_type=Path), metavar="FILE", help="PEM file of a private authority to trust.")
@click.option("--plain-http", is_flag=True, help="Send the token over http:// to another machine, unencrypted.")
@click.option(
    "--queue-size",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    metavar="RECEIPTS",
    help="The most that wait on disk; the rest waits in the ledger.",
)
@click.option("--status", is_flag=True, help="Show what waits and what was refused; send nothing.")
@click.option("--retry-refused", is_flag=True, help="Let what the server refused wait again, and send it.")
@click.option("--ledger", default=None, help="Ledger file or URL; found from the current folder upwards by default.")
@json_option
def push(
    url: str,
    follow: bool,
    every_s: float,
    token_file: Path | None,
    patience_s: float,
    ca: Path | None,
    plain_http: bool,
    queue_size: int,
    status: bool,
    retry_refused: bool,
    ledger: str | None,
    as_json: bool,
) -> int:
    """Send the receipts of this ledger to the server at URL, each of them once.

    What is not acknowledged waits in a queue beside the ledger and survives kill -9, restarts and power cuts. Sending
    again is safe: a batch keeps its key until it is answered, and the server keeps a receipt once. A receipt that the
    server refuses is set aside with the reason, and the others go on.

    Exit codes: 0 all of it is there; 2 wrong token, address or certificate; 3 the server cannot be reached, or refused
    some (--status lists them).
    """
    from outweigh.app import pushing

    told = pushing.Told(note=note)
    outgoing = pushing.Outgoing.named(url, ledger, plain_http=plain_http, most=queue_size)
    if status:
        return _status(*pushing.standing(outgoing), as_json=as_json)
    token = pushing.token_of(token_file, told)
    with pushing.open_receiver(outgoing, token, ca=ca, patience_s=patience_s) as receiver:
        if retry_refused:
            note(f"{pushing.take_back(outgoing)} that were refused wait again")
        if follow:
            note(f"pushing to {outgoing.address.url} every {every_s:g} s; Ctrl-C ends it, and what waits is kept")
            try:
                pushing.follow(
                    outgoing, receiver, told, every_s=every_s, answered=lambda row: _shown(row, as_json=as_json)
                )
            except KeyboardInterrupt:
                return 0  # to be told to stop is how an agent ends
        with progress("pushing") as bar:
            row = pushing.push_once(outgoing, receiver, pushing.Told(note, bar))
    _shown(row, as_json=as_json)
    return _REFUSED if row["refused"] else 0


def _shown(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        echo_json([row])
        return
    click.echo(f"{row['sent']} receipts sent, {row['already_there']} of them were there, {row['waiting']} wait")
    if row["refused"]:
        note(f"{row['refused']} were refused and set aside: outweigh ledger push {row['server']} --status")


def _status(row: dict[str, Any], refused: list[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        echo_json([{**row, "refusals": refused}])
    else:
        click.echo(f"{row['waiting']} wait, {row['set_aside']} set aside, {row['sent_ever']} sent so far")
        for one in refused:
            click.echo(f"{one['receipt'][:12]}  {one['status']}  {one['reason']}")
    return 0
