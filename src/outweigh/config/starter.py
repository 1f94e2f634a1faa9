"""The energy.toml that `outweigh init` writes: every table, explained where it stands, with nothing invented left on.

What only the team can know (models, data, volume) stands there to be filled in; limits are comments until the first
measurement says what is usual, because a limit that was guessed is either breached at once or never.
"""

from __future__ import annotations

import json

_TEMPLATE = """\
#:schema ./energy.schema.json
# Editors that know Taplo (Even Better TOML) complete and check keys when energy.schema.json lies beside this file.
# Quantities are text with a unit: "1.2 Wh", "35 MWh", "180 W", "3 s", "0.90 EUR". Every key: docs/energy-toml.md

[project]
name = {name}
unit = {unit}                        # the useful thing delivered; never a token or a parameter
volume = {{ per_month = 100_000, low = 50_000 }}  # fill in: what you expect, and the low case the gate counts with
# horizon_months = 12                       # training and development are shared out over this long
# carbon_price = "100 USD/t"                # what a tonne of CO2e is worth to you when planning

[task]                                      # how quality is judged
adapter = "text-classification"             # `outweigh doctor` lists the adapters
dataset = "eval/data"                       # fill in: relative to this file, or package:DISTRIBUTION/path/inside
primary = {{ metric = "accuracy" }}           # higher is better; ceiling = 0.97 where labels are noisy
# guards = [ {{ metric = "p95_latency_ms", margin = "10%" }} ]   # must not get worse by more than this

# [task.options]                            # what only this adapter knows, for instance:
# seed = 0

[variants.base]                             # what is in service
model = "models/base.onnx"                  # fill in

[variants.larger]                           # what is proposed
model = "models/larger.onnx"                # fill in

[variants.base-int8]                        # a cheaper way: the gate asks whether it would do as well
from = "base"
levers = ["quantize:int8-dynamic"]

[gate]
incumbent = "base"
proposal = "larger"
mode = "warn"                               # enforce: a fail may block a merge
# confidence = 0.95
# min_grade = "B"                           # worst evidence that may block; below it the verdict is provisional
# eta = 0.15                                # relative cut in error that a relative growth in energy must buy
# anchor = "base"                           # variant of the last release, so that small steps cannot add up unseen
# value = {{ per = "avoided error", amount = "0.90 EUR", owner = "product", evidence = "where it was found" }}

# Set limits once a first measurement has shown what is usual.
# [budget.serve]
# phase = "inference"                       # development | training | inference | idle
# per_unit = "1.2 Wh"
# total = {{ limit = "35 MWh", per = "month" }}
# warn_at = "80%"
# owner = "team"
# [budget.hum]                              # the draw that is there whether or not anyone works
# phase = "idle"
# limit = "180 W"

# [serving]                                 # decides the unit's share of the hum
# utilisation = 0.35                        # share of provisioned thread-time that is busy
# min_replicas = 2
# threads = 1
# hardware_price = "0.05 USD/h"             # one replica

# [protocol]                                # how variants are compared
# rounds = 12
# hum = "3 s"

# [site.here]                               # where it may run; more than one site lets the planner choose
# zone = "DE"
# capacity = "7.0 MW"
# pue = {{ idle = 1.6, full = 1.25 }}
# price = "0.12 USD/kWh"
"""


def starter(name: str, unit: str) -> str:
    """A commented energy.toml for a project of that name and functional unit.

    It loads as it is; what is marked "fill in" has to be true before anything can be measured.

    >>> starter("support-triage", "ticket").splitlines()[5]
    'name = "support-triage"'
    """
    return _TEMPLATE.format(name=_toml_text(name), unit=_toml_text(unit))


def _toml_text(text: str) -> str:
    # JSON escapes are TOML's, except that JSON lets DEL stand as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
