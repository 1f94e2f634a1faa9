"""`outweigh estimate`: energy, money, carbon and water before any code runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, table

_FILE = click.Path(path_type=Path)


@click.command(
    "estimate",
    epilog="Example: outweigh estimate --device nvidia-h100-sxm --parameters 8B --tokens 15T --region aws:eu-central-1",
)
@click.option("--device", "devices", multiple=True, metavar="NAME", help="Of the hardware table; several are compared.")
@click.option("--parameters", default="", metavar="N", help="Of the model: 8B, 405e9.")
@click.option(
    "--active-parameters", "active", default="", metavar="N", help="Used by a token, in a mixture of experts."
)
@click.option("--tokens", default="", metavar="N", help="Training: tokens seen, as in 15.6T.")
@click.option("--recompute", type=float, default=0.0, show_default=True, metavar="SHARE",
              help="Training: share of the forward pass computed twice; --utilisation then counts it.")  # fmt: skip
@click.option("--requests", default="", metavar="N", help="Serving: how many requests.")
@click.option("--prompt-tokens", "prompt", default="", metavar="N", help="Serving: read per request.")
@click.option("--output-tokens", "output", default="", metavar="N", help="Serving: written per request.")
@click.option("--batch", type=float, default=1.0, show_default=True, help="Serving: requests computed together.")
@click.option("--weight-bytes", type=float, default=2.0, show_default=True, help="Serving: bytes per parameter.")
@click.option("--kv-bytes-per-token", "kv_bytes", type=float, default=None, metavar="B",
              help="Serving: cache per token of context; 131072 for Llama 3.1 8B.")  # fmt: skip
@click.option("--device-hours", default="", metavar="H", help="Instead: hours of all devices together.")
@click.option("--watts", default="", metavar="W", help="Of one device at work, as W, low:high or low:central:high.")
@click.option("--tflops", type=float, default=None, help="Dense TFLOP/s of a device that the table lacks.")
@click.option("--memory-gb-s", type=float, default=None, help="Memory of a device that the table lacks [GB/s].")
@click.option(
    "--utilisation", default="", metavar="U", help="Share of the device's best that is reached: 0.4, 0.3:0.5."
)
@click.option("--host", type=float, default=None, metavar="FACTOR", help="Rest of the node: 1.5 times the boards.")
@click.option("--idle", default="", metavar="SHARE", help="Hum on top of the energy at work: 59%.")
@click.option("--development", default="", metavar="SHARE", help="Share of the whole that led to this run: 82%.")
@click.option("--zone", default="", help="Grid zone, for carbon and price: DE.")
@click.option("--region", default="", help="Cloud region, for PUE, water, zone: aws:eu-central-1.")
@click.option("--pue", default="", metavar="PUE", help="Facility over IT energy: 1.2, or 1.1:1.4.")
@click.option("--wue", default="", metavar="L/KWH", help="Water at the site per kWh of IT energy.")
@click.option("--intensity", default="", metavar="G", help='Declared, location-based: "350 gCO2e/kWh".')
@click.option("--intensity-scope", type=click.Choice(["lifecycle", "direct"]), default="lifecycle", show_default=True,
              help="What a declared --intensity counts.")  # fmt: skip
@click.option("--price", default="", help='Of electricity: "0.12 EUR/kWh".')
@click.option("--tariff", default=None, type=_FILE, help="Or bill the run under a tariff file, with the next two.")
@click.option("--start", default="", metavar="TIME", help="When it would start: 2026-03-02T09:00.")
@click.option("--count", type=click.IntRange(min=1), default=None, help="How many devices work at once.")
@click.option("--file", default=None, type=_FILE, help="Your own carbon or prices: CSV or Parquet.")
@click.option("--reconcile", multiple=True, metavar="RECEIPT",
              help="A receipt of such a run: address in the ledger, or a file. Each is a run of its own.")  # fmt: skip
@click.option("--parts", is_flag=True, help="All receipts are parts of one run.")
@click.option("--ledger", default=None, type=_FILE, help="Ledger of the receipts; the nearest one by default.")
@click.option("--no-keep", "keep", flag_value=False, default=True, help="Reconcile, and learn nothing from it.")
@click.option("--fresh", is_flag=True, help="Leave out what earlier receipts taught.")
@json_option
def command(as_json: bool, **asked: Any) -> None:
    """Energy, money, carbon and water of a training, a serving or device hours, with intervals, before it runs.

    A rated power is ± 30 % until receipts say better. What is not known (PUE, WUE, price) stays missing and says why.
    With --reconcile the estimate meets its receipts, and the next one starts from what they taught.
    """
    from outweigh.app.estimating import estimated
    from outweigh.app.estimating_asked import Asked

    found = estimated(Asked(**asked))
    if as_json:
        echo_json(found.documents)
        return
    for title, headings, rows in found.tables:
        table(headings, rows, title=title, entries_below=120)
    for line in found.lines:
        click.echo(line)
    for line in found.notes:
        note(line)
