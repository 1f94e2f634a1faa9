"""The proportion itself, and the two parts that rest on the same figures: anchor (d) and gain (e)."""

from __future__ import annotations

import math

from outweigh.gate.inputs import Contenders, Terms, same_thing
from outweigh.gate.judged import Judged, cannot_tell, from_tails, not_binding
from outweigh.gate.pair import Pair
from outweigh.gate.power import Spread
from outweigh.gate.wording import energy_change, error_change, share


def proportion(pair: Pair) -> Judged:
    """T = g - eta x: passed when its lower bound is above 0, failed when its upper bound is below 0."""
    if pair.above_ceiling:
        return cannot_tell("proportion", _ceiling_remedy(pair))
    return from_tails("proportion", "", pair.proportion, weighing_sentence(pair), pair.proportion_spread)


def anchor(contenders: Contenders, terms: Terms, seed: int, n_draws: int) -> Judged:
    """T against the last release, so that many small steps cannot slip through one by one."""
    last, name = contenders.anchor, terms.spec.anchor
    if last is None:
        if name:
            return cannot_tell(
                "anchor", f"the last release, {name}, was not measured: take it into the comparison", name
            )
        return not_binding("anchor", "no last release is named as anchor")
    subject = last.variant.name
    if same_thing(last, contenders.incumbent) or last.variant.name == contenders.incumbent.variant.name:
        return not_binding("anchor", f"the incumbent is the last release: the proportion weighs against {subject}")
    if same_thing(last, contenders.proposal):
        return not_binding("anchor", f"the proposal is the last release, {subject}: nothing has crept in", subject)
    pair = Pair(last, contenders.proposal, terms, seed, n_draws)
    if pair.above_ceiling:
        return cannot_tell("anchor", _ceiling_remedy(pair), subject)
    sentence = f"against the last release, {subject}: {weighing_sentence(pair)}"
    return from_tails("anchor", subject, pair.proportion, sentence, pair.proportion_spread)


def gain(pair: Pair) -> Judged:
    """When the proposal draws more, its gain must be real: the lower bound of g above 0."""
    binding = pair.x.estimate > 0
    if pair.above_ceiling:
        if binding:
            return cannot_tell("gain", _ceiling_remedy(pair))
        return not_binding("gain", "the proposal draws no more energy, so no gain is asked of it")
    tails = pair.gain
    change = error_change(tails.estimate, tails.low, tails.high)
    if binding:
        sentence = f"the proposal draws more energy, so its gain must be real: the error {change}"
    else:
        sentence = f"the proposal draws no more energy, so no gain is asked of it: the error {change}"
    return from_tails("gain", "", tails, sentence, Spread(items=pair.proportion_spread.items), binding=binding)


def weighing_sentence(pair: Pair) -> str:
    x, bounds = pair.x.estimate, pair.x.bounds()
    asked = pair.terms.spec.eta * x
    if asked > 0:
        price = f"the error would have to fall by {share(-math.expm1(-asked))} to pay for it"
    else:
        price = f"the error may grow by at most {share(math.expm1(-asked))} for it"
    change = error_change(pair.gain.estimate, pair.gain.low, pair.gain.high)
    return f"energy per {pair.terms.unit} {energy_change(x, bounds.low, bounds.high)}; {price} and {change}"


def _ceiling_remedy(pair: Pair) -> str:
    metric, ceiling = pair.terms.primary.metric, pair.terms.primary.ceiling
    name = pair.above_ceiling
    quality = ceiling - pair.errors[0 if name == pair.base.variant.name else 1]
    return (
        f"{metric} of {name} is {quality:.4g}, at or above the declared ceiling {ceiling:.4g}: no error is left to "
        f"compare. Raise task.primary.ceiling to what the labels allow, or evaluate on a harder or larger set"
    )
