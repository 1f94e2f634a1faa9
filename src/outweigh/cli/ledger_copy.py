"""`outweigh ledger copy`: a ledger into another store, proved by its chain."""

from __future__ import annotations

import click

from outweigh.cli.shown import echo_json, json_option, note, progress


@click.command(
    "copy", epilog="Example: outweigh ledger copy .outweigh/ledger.sqlite postgresql://outweigh@db.example/energy"
)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
def copy(source: str, target: str, as_json: bool) -> None:
    """Copy the whole ledger FROM into TO: paths or URLs, SQLite to PostgreSQL or back.

    Receipts and their views keep their order; FROM's hash chain is verified before, TO's after, and both end in the
    same link. After an interrupt the same command goes on. A TO that holds anything FROM does not is refused. Plans and
    verdicts come along; tokens, sessions and the audit log of a server do not. A password is better kept in PGPASSWORD
    or ~/.pgpass than in the URL.
    """
    from outweigh.app.copying import copy as copied

    with progress("copying") as told:
        done = copied(source, target, told=told)
    if as_json:
        echo_json([done])
        return
    click.echo(
        f"{done['receipts']} receipts and {done['views']} views copied, {done['receipts_before']} receipts were there; "
        f"both chains end in {done['chain'][:12]}"
    )
    if done["documents"]:
        note(f"{done['documents']} plans and verdicts came along")
