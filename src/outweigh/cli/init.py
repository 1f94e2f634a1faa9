"""`outweigh init`: a commented energy.toml to start from."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import note


@click.command("init", epilog="Example: outweigh init --name support-triage --unit ticket")
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", default="", help="Project name; the folder's name when not given.")
@click.option("--unit", default="item", show_default=True, help="The functional unit: the useful thing delivered.")
@click.option("--items", type=click.IntRange(min=2), default=None, help="Size of your evaluation set.")
@click.option("--error", type=float, default=0.1, show_default=True, help="Error of your incumbent.")
@click.option("--force", is_flag=True, help="Overwrite an existing energy.toml.")
def command(folder: Path, name: str, unit: str, items: int | None, error: float, force: bool) -> None:
    """Write a commented energy.toml into FOLDER.

    It also prints the smallest gain that an evaluation set can detect: one of --items, or of some usual sizes.
    """
    from outweigh.app import start_project

    path, power = start_project(folder, name=name, unit=unit, items=items, error=error, force=force)
    click.echo(str(path))
    for sentence in power:
        click.echo(sentence)
    note(f"Next: name your models and data set in {path}, then: outweigh review {folder}")
