"""Keys of grid sources: where they may be seen, which is nowhere but at the provider."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import traceback
from pathlib import Path

import pytest

from outweigh.core.errors import GridUnavailable, OutweighError
from outweigh.core.intervals import Interval
from outweigh.ports import Offer
from outweigh.registry import grid_sources

pytest.importorskip("hishel")

spec = importlib.util.spec_from_file_location("keyed_providers", Path(__file__).with_name("keyed_providers.py"))
keyed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keyed)
KEYED = {
    name: (make, zone)
    for name, make, zone, _ in keyed.CASES
    if name in ("eia", "entsoe", "electricity-maps", "watttime")
}


@pytest.fixture(params=sorted(KEYED))
def name(request) -> str:
    return request.param


def shown(secret: str) -> set[str]:
    from urllib.parse import quote, quote_plus

    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_key_is_in_no_error_however_the_provider_refuses_it(name, status, provider, caplog):
    make, zone = KEYED[name]
    source = make(None, provider)
    # A provider that tells the key it was sent, as some do.
    provider.on("/", keyed.answer(provider, f"the key {keyed.KEY} is not known".encode(), status))
    for path in list(provider._answers):
        provider._answers[path] = provider._answers["/"]
    caplog.set_level(logging.DEBUG)

    with pytest.raises(GridUnavailable) as caught:
        source.carbon(zone, keyed.DAY)

    error = caught.value
    said = (
        "".join(traceback.format_exception(error)) + repr(error) + str(pickle.loads(pickle.dumps(error))) + caplog.text
    )
    assert not any(text in said for text in shown(keyed.KEY))


def test_a_key_is_not_in_a_series_a_repr_or_the_cache(name, provider, tmp_path):
    make, zone = KEYED[name]
    source = make(None, provider)
    ask = {Offer.CARBON: source.carbon, Offer.FORECAST: source.forecast, Offer.PRICES: source.prices}

    series = [ask[offer](zone, keyed.DAY) for offer in sorted(source.limits.offers)]

    said = repr(series) + repr(source) + repr(vars(source))
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert provider.asked
    assert files
    for text in shown(keyed.KEY):
        assert text not in said
        assert text.encode() not in files


@pytest.mark.parametrize("variable", ["", " ", "k\u00e9y", "line\nbreak"])
def test_a_key_that_is_none_is_refused_before_anybody_is_asked_and_is_not_shown(name, variable, provider, monkeypatch):
    make, zone = KEYED[name]
    source = make(None, provider)
    monkeypatch.setenv(f"OUTWEIGH_{name.upper().replace('-', '_')}_KEY", variable)

    with pytest.raises(OutweighError) as caught:
        source.carbon(zone, keyed.DAY)

    assert not provider.asked
    assert caught.value.remedy
    assert not grid_sources.get(name).probe().usable
    if variable.strip():
        assert variable not in str(caught.value)


def test_zones_and_limits_of_every_keyed_source_need_no_key_and_no_network(monkeypatch, provider):
    for name in [*KEYED, "gridstatus"]:
        monkeypatch.delenv(f"OUTWEIGH_{name.upper().replace('-', '_')}_KEY", raising=False)
        source = grid_sources.get(name).make()

        assert source.zones() == tuple(sorted(set(source.zones())))
        assert source.limits.needs_key == (name != "gridstatus")
        assert source.limits.attribution
    assert not provider.asked


def test_an_answer_out_of_the_cache_says_when_it_came_and_not_when_it_was_asked_for(provider):
    make, zone = KEYED["eia"]
    source = make(None, provider)
    first = source.carbon(zone, keyed.DAY)
    later = keyed.NOW.replace(minute=50)
    source._now = source._web.now = lambda: later

    again = source.carbon(zone, Interval(keyed.DAY.start, keyed.DAY.end))

    assert again.origin.retrieved_at == first.origin.retrieved_at
