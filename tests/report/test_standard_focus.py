"""FOCUS 1.2 rows: the specification's columns, types and nulls, and ours behind x_."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from outweigh.backends.exporters.focus import FocusExporter
from outweigh.core.errors import OverlappingScopes, UsageError
from outweigh.core.measurement import Factor, Grade
from outweigh.core.quantities import CarbonBasis, CarbonIntensity, Price
from outweigh.report.declared import Billing, Given
from outweigh.report.standards.focus import COLUMNS, focus_rows

KWH = 3.6e6
D = Factor("invented", 1.0, "1", "invented", "", "", "declared", Grade.D)
GIVEN = Given(
    price=(Price(0.20, "EUR"), D),
    pue=(1.5, D),
    intensity=(CarbonIntensity(400.0), D),
    billing=Billing(account="cost-centre-7", issuer="Stadtwerke", provider="Example GmbH"),
)
# FOCUS 1.2, dataset Cost and Usage: the columns whose feature level is mandatory.
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "ServiceCategory", "ServiceName",
}  # fmt: skip
# FOCUS 1.2: columns that allow no null in a row of usage.
NOT_NULL = MANDATORY - {"ChargeClass"}
DECIMALS = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity", "ConsumedQuantity")
STAMPS = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")


def written(rows):
    text = FocusExporter().text({"columns": COLUMNS, "rows": rows})
    return list(csv.DictReader(io.StringIO(text)))


def test_a_charge_period_has_a_length_however_short_the_run_was(made_run, addressed):
    (row,) = written(focus_rows(addressed(made_run(1.0, seconds=0.2)), GIVEN))

    assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]


def test_every_mandatory_column_is_there_and_custom_ones_are_marked():
    assert set(COLUMNS) >= MANDATORY
    # FOCUS: column ids are Pascal case, letters and digits; custom columns begin with x_; 50 characters at most.
    assert all(re.fullmatch(r"(x_)?[A-Z][A-Za-z0-9]*", column) and len(column) <= 50 for column in COLUMNS)


def test_types_and_nulls_are_those_of_the_specification(made_run, addressed):
    rows = written(focus_rows(addressed(made_run(1.0, units=3.0, unit="ticket")), GIVEN))

    for row in rows:
        assert all(row[column] for column in NOT_NULL)
        assert all(re.fullmatch(r"-?\d+(\.\d+)?", row[column]) for column in DECIMALS), "no exponent"
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[column]) for column in STAMPS)
        assert row["ChargeCategory"] == "Usage"
        assert row["ChargeFrequency"] in ("One-Time", "Recurring", "Usage-Based")
        assert row["PricingCategory"] in ("Standard", "Dynamic", "Committed", "Other")
        assert row["ServiceCategory"] == "AI and Machine Learning"
        assert row["BillingCurrency"] == "EUR"
        assert isinstance(json.loads(row["Tags"]), dict)


def test_a_run_costs_its_energy_times_the_building_times_the_price(made_run, addressed):
    (row,) = focus_rows(addressed(made_run(2 * KWH, half_j=0.2 * KWH)), GIVEN)

    assert row["EffectiveCost"] == pytest.approx(2 * 1.5 * 0.20)
    assert row["ConsumedQuantity"] == pytest.approx(3.0)
    assert row["x_EnergyJoules"] == pytest.approx(3 * KWH)
    assert row["x_EnergyHighJoules"] == pytest.approx(3.3 * KWH)
    assert row["x_HumJoules"] == pytest.approx(KWH / 2)
    assert row["x_CarbonLocationGrams"] == pytest.approx(1200.0)
    assert row["x_CarbonMarginalGrams"] is None
    assert (row["x_EnergyGrade"], row["x_CostGrade"]) == ("A", "D")


def test_what_the_power_supplier_bills_is_not_billed_twice(made_run, addressed):
    receipts = addressed(made_run(KWH))

    (shown,) = focus_rows(receipts, GIVEN)
    (billed,) = focus_rows(receipts, replace(GIVEN, billing=replace(GIVEN.billing, invoiced=True)))

    assert shown["BilledCost"] == 0.0
    assert billed["BilledCost"] == billed["EffectiveCost"] == shown["EffectiveCost"]


def test_a_run_over_the_turn_of_a_month_is_two_charges_that_add_up(made_run, addressed):
    late = datetime(2026, 11, 30, 23, 0, tzinfo=UTC)

    rows = focus_rows(addressed(made_run(4 * KWH, start=late, seconds=4 * 3600.0)), GIVEN)

    assert [row["BillingPeriodStart"] for row in rows] == ["2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"]
    assert [row["ConsumedQuantity"] for row in rows] == pytest.approx([1.5, 4.5])
    assert rows[0]["ChargePeriodEnd"] == rows[1]["ChargePeriodStart"] == "2026-12-01T00:00:00Z"


def test_marginal_carbon_has_a_column_of_its_own(made_run, addressed):
    facts = replace(GIVEN, intensity=(CarbonIntensity(400.0, CarbonBasis.MARGINAL), D))

    (row,) = focus_rows(addressed(made_run(KWH)), facts)

    assert row["x_CarbonLocationGrams"] is None
    assert row["x_CarbonMarginalGrams"] == pytest.approx(600.0)


def test_a_run_without_a_usable_figure_has_no_row(made_run, addressed):
    rows = focus_rows(addressed(made_run(KWH), made_run(2 * KWH, status="unusable")), GIVEN)

    assert len(rows) == 1


def test_a_price_nobody_declared_is_asked_for_with_an_example(made_run, addressed):
    with pytest.raises(UsageError) as refused:
        focus_rows(addressed(made_run(KWH)), replace(GIVEN, price=None, billing=Billing()))

    assert 'price = "0.18 EUR/kWh"' in str(refused.value)
    assert "[billing]" in str(refused.value)


def test_a_label_that_a_spreadsheet_would_run_stays_text(made_run, addressed):
    receipts = addressed(made_run(KWH, variant='=HYPERLINK("http://x")', labels=(("team", "@ops"),)))

    (row,) = written(focus_rows(receipts, GIVEN))

    assert row["ResourceName"].startswith("'=")
    assert json.loads(row["Tags"])["label/team"] == "@ops"


def test_the_same_joules_are_never_charged_twice(made_run, addressed):
    machine = (("machine", "a"),)

    with pytest.raises(OverlappingScopes):
        focus_rows(addressed(made_run(KWH, labels=machine), made_run(2 * KWH, labels=machine)), GIVEN)
