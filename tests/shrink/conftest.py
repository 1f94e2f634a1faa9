import sqlite3

import numpy as np
import pytest

from outweigh.core.measurement import Grade, Method
from outweigh.shrink.search_bench import Done
from outweigh.shrink.search_kept import Failure
from outweigh.shrink.search_series import Series

PROJECT = """
[project]
name = "made-up"
unit = "text"
volume = { per_month = 1_000_000 }
[task]
adapter = "text-classification"
dataset = "corpus"
primary = { metric = "accuracy", equivalence = 0.1 }
[task.options]
tokenizer = "tokenizer.json"
train = 60
[variants.small]
model = "small.onnx"
[gate]
incumbent = "small"
[protocol]
hum = "0.1 s"
"""


@pytest.fixture
def project(tmp_path, corpus, tokenizer_file, encoder):
    """A folder with a project that works: 120 made-up texts and an encoder of one matrix product."""
    encoder(name="small.onnx")
    (tmp_path / "energy.toml").write_text(PROJECT, encoding="utf-8")
    return tmp_path


def series(items, *, ratio=1.0, quality=0.9, latency_ms=10.0, rounds=4, name="base", lever_noise=0.01):
    """What was measured of a variant that draws `ratio` J an item; the same for the same arguments."""
    items = np.asarray(items)
    chance = np.random.default_rng([sum(map(ord, name)), items.size, int(items[0])])
    energy = ratio * (1 + lever_noise * chance.standard_normal(rounds))
    # Which items are right is fixed by the item, so that two variants of one quality agree.
    right = ((items * 7919) % 1000 < 1000 * quality).astype(float)
    return Series(
        items=items,
        scores={"accuracy": right},
        latency_ms=latency_ms * (1 + 0.1 * chance.random(items.size)),
        item_rounds=np.arange(items.size) % rounds,
        energy_j_per_unit=energy,
        work_j=energy * items.size / rounds,
        hum_j=np.zeros(rounds),
        units=np.full(rounds, items.size / rounds),
        service_s=np.ones(rounds),
        grade=Grade.B,
        method=Method.COUNTER,
        content_hash=name,
    )


class MadeUpSweep:
    """Looks with an outcome by table: lever -> (energy ratio, quality); they multiply and add. None: infeasible."""

    def __init__(self, table, stop_after=None, backwards=False):
        self.table, self.stop_after, self.backwards = table, stop_after, backwards
        self.looks = []

    def run(self, orders):
        for order in reversed(orders) if self.backwards else orders:
            if self.stop_after is not None and len(self.looks) >= self.stop_after:
                raise KeyboardInterrupt
            self.looks.append(order)
            yield self.look(order)

    def look(self, order):
        own = {}
        for combination in order.combinations:
            found = [self.table[lever] for lever in combination]
            if None in found:
                dead = combination[: found.index(None) + 1]
                return Done(order, failure=Failure(combination, f"{dead[-1]} does not apply", dead))
            ratio = float(np.prod([energy for energy, _ in found]))
            quality = 0.9 + sum(quality for _, quality in found)
            own[combination] = series(order.items, ratio=ratio, quality=quality, name="+".join(combination))
        return Done(order, series(order.items), own, {one[: n + 1]: 5.0 for one in own for n in range(len(one))})

    def close(self):
        pass


def parts_kept(path):
    """(combination, rung, part) of every part in a search's file."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return set(db.execute("select combination, rung, part from outweigh_part"))
