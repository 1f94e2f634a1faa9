"""`outweigh report sci` and its siblings: one shape for every standard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outweigh.cli.shown import echo_json, note, progress, project_argument

if TYPE_CHECKING:
    from outweigh.app.reporting import Reported

_PHASES = ("development", "training", "inference", "idle")
_INCOMPLETE = 4  # a factor is missing
FORMATS = ("markdown", "html", "csv", "json")


@dataclass(frozen=True, slots=True)
class _Standard:
    """A command: `formats` are those it can be written in, the first by default."""

    name: str
    short: str
    help: str
    formats: tuple[str, ...] = FORMATS
    example: str = ""


_ALL = (
    _Standard(
        "sci", "Software Carbon Intensity, ISO/IEC 21031.",
        "Software Carbon Intensity (ISO/IEC 21031:2024) of PROJECT's receipts: (E x I + M) per functional unit.\n\n"
        "Of the phases inference and idle unless --phase names others. Location-based or marginal carbon; contracts "
        "do not count. Ends with 4 where the score cannot be given.",
        example="outweigh report sci examples/news-triage --facts facts.toml",
    ),
    _Standard(
        "sci-ai", "SCI for AI: running a model, and making it.",
        "SCI for AI of the receipts of PROJECT: the consumer's score (inference, idle) and the provider's "
        "(development, training).\n\nScores per parameter, token and operation are exported and never used in a gate. "
        "Ends with 4 where a score cannot be given.",
        example="outweigh report sci-ai --facts facts.toml --json",
    ),
    _Standard(
        "annex-xi", "AI Act, Annex XI: energy of a general-purpose model.",
        "Energy and compute of a model as Annex XI of Regulation (EU) 2024/1689 and the Model Documentation Form ask: "
        "training time, FLOP, MWh, and how they were measured.",
        example="outweigh report annex-xi --facts facts.toml",
    ),
    _Standard(
        "scope2", "GHG Protocol scope 2, location and market, hourly.",
        "Carbon of purchased power by the GHG Protocol Scope 2 Guidance: location-based and market-based side by side, "
        "over the period and hour by hour.\n\nHours come from a file of the zone's carbon (--carbon). Factors of life "
        "cycles are shown as what they are; scope 2 takes direct ones. Ends with 4 where a figure cannot be given.",
        example="outweigh report scope2 --facts facts.toml --since 2026-10-01 --until 2027-01-01",
    ),
    _Standard(
        "focus", "FinOps FOCUS 1.2 rows, with x_ columns.",
        "Cost and usage rows of FOCUS 1.2: a row a receipt and month, energy, hum, grade and carbon in x_ columns.\n\n"
        "Costs are energy x PUE x price. BilledCost is 0 unless the facts say that these rows are the invoice.",
        ("csv", "json"), "outweigh report focus --facts facts.toml --out focus.csv",
    ),
    _Standard(
        "spdx", "SPDX 3.0.1, AI profile: energy of a model.",
        "An SPDX 3.0.1 document (JSON-LD) of a model: energy of training, fine-tuning and inference, and annotations "
        "with method, grade, interval and boundary.",
        ("json",), "outweigh report spdx --facts facts.toml --out model.spdx.json",
    ),
    _Standard(
        "hf-card", "Model card metadata for the Hugging Face Hub.",
        "A README.md with co2_eq_emissions and a section on energy. Without the grid of the training there is no "
        "emissions entry, and the command ends with 4.",
        ("markdown", "json"), "outweigh report hf-card --facts facts.toml >> README.md",
    ),
    _Standard(
        "otel", "OpenTelemetry metrics, OTLP as JSON.",
        "Receipts as hw.energy (hw.host.energy of whole machines) in J: a delta point a receipt, for the OTLP HTTP "
        "endpoint of a collector.",
        ("json",), "outweigh report otel | curl -H 'content-type: application/json' -d @- http://localhost:4318/v1/metrics",
    ),
    _Standard(
        "mlperf-check", "Which MLPerf power rules the receipts meet.",
        "The power rules of MLPerf Training and Inference against the receipts: met, not met, not known, and why.\n\n"
        "No figure here is an MLPerf result: that takes a submission by its rules.",
        example="outweigh report mlperf-check --facts facts.toml",
    ),
)  # fmt: skip


def commands() -> Iterator[click.Command]:
    """A command a standard."""
    for standard in _ALL:
        yield _command(standard)


def _command(standard: _Standard) -> click.Command:
    def report(project: Path, form: str, as_json: bool, table: str, out: Path | None, **asked: Any) -> int:
        from outweigh.app.reporting import Selection, standard_report

        asked["phases"], asked["carbon"] = tuple(asked["phases"]), tuple(asked.get("carbon", ()))
        chosen = "json" if as_json and standard.name != "focus" else form
        with progress(f"report {standard.name}") as told:
            reported = standard_report(standard.name, Selection(project, **asked), chosen, table=table, told=told)
        return deliver(reported, out, as_json=as_json)

    function: Callable[..., Any] = report
    function.__doc__ = standard.help
    for option in reversed(_options(standard)):
        function = option(function)
    return click.command(standard.name, short_help=standard.short, epilog=f"Example: {standard.example}")(
        project_argument(function)
    )


def _options(standard: _Standard) -> list[Callable[..., Any]]:
    file = click.Path(dir_okay=False, path_type=Path)
    hours = click.option("--carbon", multiple=True, type=file, help="Carbon of the zone by hour (docs/grid.md).")
    return [
        click.option(
            "--facts", type=file, default=None, help="Declared facts; report-facts.toml of PROJECT by default."
        ),
        click.option("--ledger", default=None, help="Ledger; .outweigh/ledger.sqlite of PROJECT by default."),
        click.option("--since", default="", metavar="TIME", help="Runs that began at or after it, as 2026-11-23."),
        click.option("--until", default="", metavar="TIME", help="Runs that began before it."),
        click.option(
            "--phase", "phases", multiple=True, type=click.Choice(_PHASES), help="Only this; may be repeated."
        ),
        click.option("--variant", default="", help="Only the runs of this variant."),
        click.option("--batch", default="", help="Only the receipts of one review or comparison."),
        *([hours] if standard.name == "scope2" else []),
        *format_options(standard.formats),
    ]


def format_options(formats: tuple[str, ...]) -> list[Callable[..., Any]]:
    """How a report is written, and where to."""
    return [
        click.option("--format", "form", type=click.Choice(formats), default=formats[0], show_default=True),
        click.option("--table", default="", metavar="NAME", help="For CSV: which table; the first by default.",
                     hidden="csv" not in formats or formats[0] == "csv"),
        click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=None,
                     help="File to write; standard output by default."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line, full precision."),
    ]  # fmt: skip


def deliver(reported: Reported, out: Path | None, *, as_json: bool = False) -> int:
    """Write a report, ask for what is missing, and give the exit code."""
    if as_json and out is None:
        echo_json(reported.objects())
    elif out is None:
        click.echo(reported.text(), nl=False)
    else:
        reported.write(out)
        note(f"wrote {out}")
    for one in reported.missing:
        note(f"missing: {one.what} ({one.why}). Declare it, for example:\n{_indented(one.example)}")
    return 0 if reported.complete else _INCOMPLETE


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


@click.command("facts", short_help="A file of declared facts to fill in.",
               epilog="Example: outweigh report facts > report-facts.toml")  # fmt: skip
def facts() -> None:
    """Print a file of declared facts: the model, its grid, building, hardware and contracts (docs/reports.md)."""
    from outweigh.app.reporting import facts_example

    click.echo(facts_example(), nl=False)
