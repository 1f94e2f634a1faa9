"""A CSV file of GPU prices by cloud region -> what the ranking of regions takes. docs/placement.md has its columns."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from outweigh.config.documents import read_text
from outweigh.core.errors import ConfigError
from outweigh.plan.clouds.survey import GpuPrice

COLUMNS = ("provider", "region", "gpu", "on_demand_usd_gpu_h", "as_of", "source")


def load_gpu_prices(path: Path) -> tuple[GpuPrice, ...]:
    """List prices of one GPU [USD/h]; further columns are ignored, and a row without a price is no price.

    Raises:
        ConfigError: the file is missing or unreadable, lacks a column, or has a price that is none.
    """
    text = read_text(path, f"Write one with the columns {', '.join(COLUMNS)}")
    rows = csv.DictReader(io.StringIO(text))
    lacking = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if lacking:
        raise ConfigError(str(path), 1, f"there is no column {lacking[0]!r}", f"It needs {', '.join(COLUMNS)}")
    found = []
    for row in rows:
        written = (row["on_demand_usd_gpu_h"] or "").strip()
        if not written:
            continue
        try:
            price = float(written)
        except ValueError:
            price = math.nan
        if not 0 < price < math.inf:
            problem = f"{written!r} is not a price in USD per hour"
            raise ConfigError(str(path), rows.line_num, problem, "Write a number above 0, or leave the cell empty")
        found.append(GpuPrice(f"{row['provider']}:{row['region']}", row["gpu"], price, row["as_of"], row["source"]))
    return tuple(found)
