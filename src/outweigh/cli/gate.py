"""`outweigh gate`: the weighing alone, and what belongs to it."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, progress, project_argument, sitting_options


class _WeighsByDefault(click.Group):
    """`outweigh gate PROJECT` weighs; the other things a gate does are named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["weigh", *args]
        return super().parse_args(ctx, args)


@click.group(
    "gate",
    cls=_WeighsByDefault,
    epilog="Example: outweigh gate examples/news-triage --explain   (the same as `outweigh gate weigh …`)",
)
def command() -> None:
    """Weigh a proposal against budget, alternatives and benefit."""


@command.command("weigh", epilog="Example: outweigh gate examples/news-triage --explain")
@project_argument
@click.option(
    "--from",
    "review_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Show the verdict of a finished review.json instead of measuring.",
)
@click.option("--explain", is_flag=True, help="Every test with its statistic, interval, threshold and distance.")
@sitting_options
@json_option
def weigh(
    project: Path,
    review_file: Path | None,
    explain: bool,
    ledger: str | None,
    meter: str | None,
    rounds: int | None,
    as_json: bool,
) -> int:
    """Measure PROJECT's incumbent, proposal and alternatives, and weigh the proposal.

    Ends with the verdict's exit code: 0 pass, 1 fail, 5 inconclusive.
    """
    from outweigh.app.files import read_review
    from outweigh.app.review import review
    from outweigh.app.summary import exit_code_of, gate_lines

    if review_file is not None:
        document = read_review(review_file)
    else:
        with progress("gate") as tell:
            document = dict(review(project, ledger=ledger, meter=meter, rounds=rounds, progress=tell).document)
    if as_json:
        echo_json([{"project": document["project"], "evidence": document["evidence"], "verdict": document["verdict"]}])
    else:
        click.echo("\n".join(gate_lines(document, explain=explain)))
    return exit_code_of(document)


@command.command("calibrate-eta", epilog="Example: outweigh gate calibrate-eta examples/news-triage")
@project_argument
@click.option("--ledger", default=None, help="Ledger file; .outweigh/ledger.sqlite of the project by default.")
@json_option
def calibrate_eta(project: Path, ledger: str | None, as_json: bool) -> None:
    """Fit eta to PROJECT's own comparisons: what growth in energy has bought in error so far.

    Nothing is changed: whether the gate should ask for as much as history gave is the team's decision.
    """
    from outweigh.app.eta import eta_of_project
    from outweigh.core.rounding import plus_minus

    fit, declared = eta_of_project(project, ledger=ledger)
    bounds = fit.eta.bounds
    if as_json:
        echo_json(
            [
                {
                    "eta": fit.eta.value, "eta_low": bounds.low, "eta_high": bounds.high,
                    "confidence": bounds.confidence, "declared_eta": declared, "comparisons": fit.comparisons,
                    "variants": fit.variants, "interval_by": "comparison" if fit.clustered else "variant",
                }
            ]
        )  # fmt: skip
        return
    click.echo(f"eta {plus_minus(fit.eta.value, bounds.low, bounds.high)}   declared {declared:g}")
    click.echo(
        f"from {fit.variants} variants in {fit.comparisons} comparisons, the interval by "
        f"{'comparison' if fit.clustered else 'variant'}; doubling the energy has changed the error by "
        f"{100 * (2**-fit.eta.value - 1):+.1f} %"
    )
    if bounds.low <= declared <= bounds.high:
        click.echo("the declared eta lies within what the record shows")
    else:
        side = "less" if bounds.low > declared else "more"
        click.echo(f"the declared eta asks for {side} than energy has bought here so far")
