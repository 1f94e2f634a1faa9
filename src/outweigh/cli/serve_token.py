"""`outweigh serve token`: who may ask a server for what."""

from __future__ import annotations

import click

from outweigh.cli.shown import echo_json, json_option, note, table

_ledger = click.option(
    "--ledger", default=None, help="Ledger file or postgresql:// URL; that of this folder's project by default."
)


@click.group("token", epilog="Example: outweigh serve token create ci --role writer --expires 90d")
def token() -> None:
    """Make, list and revoke tokens. They lie in the ledger that is served, each as the hash of its secret."""


@token.command("create", epilog="Example: TOKEN=$(outweigh serve token create ci --role writer)")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["reader", "writer", "owner"]),
    default="reader",
    show_default=True,
    help="A writer may read too; an owner may also make tokens and read the audit log.",
)
@click.option("--expires", default=None, metavar="90d|12h", help="How long it holds; until it is revoked by default.")
@_ledger
@json_option
def create(name: str, role: str, expires: str | None, ledger: str | None, as_json: bool) -> None:
    """Make a token for NAME and print its secret, this once: it is kept nowhere."""
    from outweigh.app.serving.keeping_tokens import created

    row, secret = created(ledger, name, role, expires)
    if as_json:
        echo_json([{**row, "token": secret}])
        return
    click.echo(secret)
    note(
        f"{row['role']} {row['id']} for {name}, not shown again; it holds until {row['expires_at'] or 'it is revoked'}"
    )


@token.command("list", epilog="Example: outweigh serve token list --json | jq 'select(.state == \"holds\")'")
@_ledger
@json_option
def list_(ledger: str | None, as_json: bool) -> None:
    """Show all tokens there ever were, without their secrets."""
    from outweigh.app.serving.keeping_tokens import listed

    rows = listed(ledger)
    if as_json:
        echo_json(rows)
        return
    table(
        ("id", "name", "role", "state", "made", "expires"),
        (
            (row["id"], row["name"], row["role"], row["state"], row["made_at"][:16], (row["expires_at"] or "-")[:16])
            for row in rows
        ),
    )


@token.command("revoke", epilog="Example: outweigh serve token revoke 4f2a91c0")
@click.argument("token_id", metavar="ID")
@_ledger
def revoke(token_id: str, ledger: str | None) -> None:
    """Revoke the token ID. A server that runs follows within five seconds."""
    from outweigh.app.serving.keeping_tokens import revoked

    revoked(ledger, token_id)
    note(f"{token_id} is revoked")
