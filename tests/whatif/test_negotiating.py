"""The negotiation sheet: pooling, break-even volumes, terms and curtailment; laws and refusals."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.app.whatif_negotiate import negotiate as answer
from outweigh.cli.whatif_negotiate import negotiate
from outweigh.core.errors import ConfigError, InvalidQuantity, SeriesMismatch, UsageError
from outweigh.core.quantities import Power
from outweigh.whatif.negotiating import POOLED, Offer, break_even, curtailed, pooled, scaled, sheet, term
from outweigh.whatif.tariff import Kind, Load, Tariff, bill
from outweigh.whatif.tariff.terms import DemandCharge, EnergyRate, Fixed, Tier

EXAMPLE = Path(__file__).parents[2] / "examples" / "negotiation" / "sheet.toml"
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


def tariff(*tiers, demand="0", fixed="0", currency="EUR", name="t"):
    given = tuple(Tier(None if top is None else Decimal(top), Decimal(price)) for top, price in tiers)
    return Tariff(
        name, currency, energy=(EnergyRate("all", given),), demand=(DemandCharge("d", (Tier(None, Decimal(demand)),)),),
        fixed=(Fixed("f", Decimal(fixed)),),
    )  # fmt: skip


def flat(kw):
    return Load.flat(Power.kw(kw), START, END)


FALLING = tariff((10_000, "0.20"), (None, "0.10"), demand="5")


@st.composite
def loads(draw):
    steps = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(0, 10**8, 24 * 59)
    return Load(START, 3600, steps)


@settings(max_examples=25, deadline=None)
@given(one=loads(), other=loads())
def test_pooling_never_costs_more_where_tiers_fall_and_peaks_do_not_meet(one, other):
    found = sheet(FALLING, {"one": one, "other": other}, ())

    # Falling prices are concave in volume and a peak of a sum is at most the sum of peaks.
    assert found.pooling >= -Decimal("0.10")
    assert sum(found.pooled_parts().values()) == found.pooling
    assert found.today[POOLED].kwh == found.today["one"].kwh + found.today["other"].kwh


@settings(max_examples=25, deadline=None)
@given(load=loads())
def test_an_offer_of_todays_own_terms_changes_nothing(load):
    found = sheet(FALLING, {"one": load}, (Offer("same", FALLING, years=7),), growth=0.0)

    assert found.offered["one", "same"].total == found.today["one"].total
    assert found.turns["one", "same"] == ()
    assert found.terms["one", "same"].worth == 0


def test_a_small_and_a_large_buyer_pay_different_prices_under_one_tariff_and_the_pool_the_least():
    found = sheet(FALLING, {"small": flat(20), "large": flat(200)}, ())

    prices = {who: paid.per_kwh for who, paid in found.today.items()}
    assert prices[POOLED] < prices["large"] < prices["small"]
    # 10,000 kWh a month at 0.10 more, for one meter less: small and large both fill it in January and February.
    assert found.pooled_parts()[Kind.ENERGY] == 2 * 10_000 * Decimal("0.10")


def test_the_break_even_volume_is_where_the_fixed_fee_is_earned_back():
    today, offer = tariff((None, "0.12")), tariff((None, "0.10"), fixed="1000")

    (turn,) = break_even(today, offer, flat(50))

    # 2,000 EUR of fees in two months at 0.02 EUR/kWh.
    assert turn.kwh == pytest.approx(100_000, rel=1e-3)
    assert turn.cheaper_above
    above, below = (scaled(flat(50), factor) for factor in (2.0, 0.5))
    assert bill(offer, above).total < bill(today, above).total
    assert bill(offer, below).total > bill(today, below).total


@settings(max_examples=60, deadline=None)
@given(now=st.integers(1, 10**6), then=st.integers(1, 10**6), years=st.integers(2, 20), rate=st.floats(0, 0.3))
def test_at_its_break_even_growth_a_term_is_worth_nothing_and_more_growth_makes_it_worth_more(now, then, years, rate):
    turn = term(Decimal(now), Decimal(then), years, 0.0, rate).break_even

    if turn is not None:
        assert term(Decimal(now), Decimal(then), years, turn, rate).worth == pytest.approx(
            0, abs=1e-6 * (now + then) * years
        )
        assert term(Decimal(now), Decimal(then), years, turn + 0.01, rate).worth > 0


def test_a_term_is_worth_the_discounted_difference_of_prices_that_grow_and_prices_that_stand():
    assert term(Decimal(100), Decimal(105), 3, 0.05, 0.08).worth == pytest.approx(
        -5 / 1.08 + 0 / 1.08**2 + (110.25 - 105) / 1.08**3
    )


def test_curtailment_is_worth_what_it_saves_over_what_is_not_drawn():
    kw = np.full(24 * 59, 100.0)
    kw[:10] = 200.0
    load = Load.from_kw(START, 3600, kw)
    offer = Offer("cut", tariff((None, "0.09")), curtail_hours=10, curtail_share=0.5)

    cut = sheet(tariff((None, "0.10")), {"one": load}, (offer,)).curtailed["one", "cut"]

    assert cut.lost_kwh == (1000, 500)
    everything = Decimal(24 * 59 * 100 + 1000)
    assert cut.saved == tuple(
        everything * Decimal("0.10") - (everything - lost) * Decimal("0.09") for lost in (1000, 500)
    )
    assert cut.per_lost_kwh == tuple(saved / lost for saved, lost in zip(cut.saved, (1000, 500), strict=True))
    assert curtailed(load, 0, 0.5, highest=True).milli_wh.tolist() == load.milli_wh.tolist()


def test_two_currencies_two_spans_and_an_offer_that_cannot_be_are_refused():
    with pytest.raises(SeriesMismatch, match="USD"):
        sheet(FALLING, {"one": flat(1)}, (Offer("x", tariff((None, "1"), currency="USD")),))
    with pytest.raises(SeriesMismatch, match="a load from"):
        pooled([flat(1), Load.flat(Power.kw(1), START, datetime(2026, 2, 1, tzinfo=UTC))])
    with pytest.raises(InvalidQuantity, match="its hours and its share"):
        Offer("x", FALLING, curtail_hours=5)
    with pytest.raises(UsageError, match="rename it"):
        sheet(FALLING, {POOLED: flat(1)}, ())


def test_the_example_puts_today_first_and_names_every_worth():
    shown = CliRunner().invoke(negotiate, [str(EXAMPLE)])
    document = json.loads(CliRunner().invoke(negotiate, [str(EXAMPLE), "--json"]).stdout)

    assert shown.exit_code == 0, shown.output
    for words in ("pooling, today's tariff: saves", "cheaper above 13,971 MWh", "years are worth", "not drawn"):
        assert words in shown.output
    apart = sum(one["today"]["total"] for one in document["who"] if one["name"] != POOLED)
    assert document["apart"] == pytest.approx(apart)
    assert document["pooling_saves"] == pytest.approx(apart - document["who"][-1]["today"]["total"])
    # A month of 1,164.25 MWh costs 62,500 + 664.25 x 112 + 350 EUR today, and 1,164.25 x 105 + 15,000 EUR as offered.
    assert document["who"][0]["offers"][0]["turns"][0]["cheaper_above"]


TEXT = EXAMPLE.read_text(encoding="utf-8")
BAD = {
    "an unknown key": (TEXT.replace("flat =", "flatt ="), "flatt"),
    "two loads": (TEXT.replace('flat = "400 kW"', 'flat = "400 kW"\nload = "x.csv"'), "needs one load"),
    "no buyer": ('[sheet]\ntariff = "today.toml"\nyear = 2026\n', "declares no buyer"),
    "no such tariff": (TEXT.replace("volume.toml", "none.toml"), "no such file"),
    "half a day too much": (TEXT.replace("hours = 120", "hours = 9000"), "at most 8760"),
    "a rate without a percent sign": (TEXT.replace('"3%"', "0.03"), "write it as '3%'"),
    "not a year": (TEXT.replace("year = 2026", "year = 20260"), "9998"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_sheet_that_says_something_wrong_is_refused(tmp_path, text, says):
    for file in EXAMPLE.parent.glob("*.toml"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "sheet.toml").write_text(text)

    with pytest.raises(ConfigError, match=f"(?i){says}"):
        answer(tmp_path / "sheet.toml")


def test_a_load_that_does_not_cover_the_year_and_a_power_without_a_unit_are_refused(tmp_path):
    for file in EXAMPLE.parent.glob("*.toml"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "short.csv").write_text("start,kw\n2026-01-01T00:00,5\n2026-01-01T01:00,5\n")
    (tmp_path / "sheet.toml").write_text(TEXT.replace("../tariff/week.csv", "short.csv"))

    with pytest.raises(UsageError, match="Give all of 2026"):
        answer(tmp_path / "sheet.toml")
    (tmp_path / "sheet.toml").write_text(TEXT.replace("400 kW", "400"))
    with pytest.raises(InvalidQuantity, match="400"):
        answer(tmp_path / "sheet.toml")
