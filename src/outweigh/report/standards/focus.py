"""FinOps FOCUS: what runs cost, as rows a bill can be laid beside, with energy and carbon in `x_` columns.

Source: FinOps Open Cost and Usage Specification (FOCUS) 1.2, dataset Cost and Usage: its mandatory columns, its
conditional ones that fit, and the nullable ones that version 1.0 wants present, so that one file serves both. Custom
columns begin with `x_`. Costs are energy x PUE x price; a run that crosses the turn of a month (UTC) is two rows, for a
charge belongs to one billing period.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from outweigh.core.budget import Period
from outweigh.core.constants import J_PER_KWH
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Factor, Grade, Scope, half_width_95
from outweigh.core.quantities import Price
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.report.declared import Given
from outweigh.report.totals import Addressed, total

SOURCE = "FOCUS 1.2, FinOps Foundation"
COLUMNS = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd",
    "ChargePeriodStart", "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName", "ResourceId",
    "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "SkuId", "SkuPriceId", "SubAccountId",
    "SubAccountName", "Tags",
    "x_EnergyJoules", "x_EnergyLowJoules", "x_EnergyHighJoules", "x_EnergyItJoules", "x_HumJoules", "x_WorkJoules",
    "x_PowerUsageEffectiveness", "x_EnergyGrade", "x_EnergyMethod", "x_EnergyScope", "x_MeterSource", "x_Phase",
    "x_Units", "x_UnitName", "x_CostGrade", "x_CarbonLocationGrams", "x_CarbonMarginalGrams", "x_CarbonFactorScope",
    "x_CarbonSource", "x_ReceiptAddress",
)  # fmt: skip


def focus_rows(receipts: Iterable[Addressed], given: Given) -> list[dict[str, Any]]:
    """A row a receipt and month, oldest first; None is FOCUS's null. Receipts without a usable figure have no row.

    Raises:
        UsageError: no price, account, issuer or provider is declared: FOCUS has no null for them. Or nothing to write.
        OverlappingScopes: two receipts counted the same joules.
    """
    asks = [
        (given.price is None, '[site]\nprice = "0.18 EUR/kWh"'),
        (not given.billing.account, '[billing]\naccount = "cost-centre-7"'),
        (not given.billing.issuer, '[billing]\nissuer = "Stadtwerke Musterstadt"'),
        (not given.billing.provider, '[billing]\nprovider = "Example GmbH, machine room"'),
    ]
    lacking = [example for lacks, example in asks if lacks]
    if lacking or given.price is None:
        raise UsageError(
            "FOCUS has no null for the price, the account, the issuer and the provider, and some are not declared",
            "Declare them in a file of facts (--facts):\n" + "\n".join(lacking),
        )
    kept = list(receipts)
    if kept:
        total(kept)  # refuses what would be paid for twice
    rows = [
        row
        for address, one in kept
        if one.status is not RunStatus.UNUSABLE
        for row in _rows(address, one, given, given.price)
    ]
    if not rows:
        raise UsageError("there is no receipt to write in this selection", "`outweigh ledger list` shows what is there")
    return rows


def _rows(address: str, one: Receipt, given: Given, rate: tuple[Price, Factor]) -> Iterator[dict[str, Any]]:
    month = Period.MONTH.containing(one.interval.start)
    while True:
        seconds = one.interval.seconds
        share = one.interval.overlap_s(month) / seconds if seconds else 1.0
        if share:
            start, end = max(one.interval.start, month.start), min(one.interval.end, month.end)
            yield _row(address, one, given, rate, month, Interval(start, end), share)
        if one.interval.end <= month.end:
            return
        month = Period.MONTH.containing(month.end)


def _row(
    address: str,
    one: Receipt,
    given: Given,
    rate: tuple[Price, Factor],
    month: Interval,
    charged: Interval,
    share: float,
) -> dict[str, Any]:
    price, price_factor = rate
    pue = 1.0 if given.pue is None or one.total.scope is Scope.FACILITY else given.pue[0]
    it_j = one.total.value.joules * share
    half_j = half_width_95(one.total.components) * share * pue
    energy_j = it_j * pue
    kwh = energy_j / J_PER_KWH
    cost = kwh * price.amount_per_kwh
    billing = given.billing
    grades = [one.grade, price_factor.grade, *([given.pue[1].grade] if given.pue and pue != 1.0 else [])]
    tags = {"outweigh/phase": str(one.phase), **{f"label/{key}": value for key, value in one.labels}}
    carbon = dict.fromkeys(("location", "marginal"))
    if given.intensity is not None:
        carbon[str(given.intensity[0].basis)] = kwh * given.intensity[0].g_per_kwh
    name = one.variant or one.project
    found: dict[str, Any] = dict.fromkeys(COLUMNS)
    return found | {
        "BilledCost": cost if billing.invoiced else 0.0,
        "BillingAccountId": billing.account,
        "BillingAccountName": billing.account_name or billing.account,
        "BillingCurrency": price.currency,
        "BillingPeriodStart": _stamp(month.start), "BillingPeriodEnd": _stamp(month.end),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"Electricity of {one.phase} run {one.run_id[:8]} of {one.project}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _stamp(charged.start), "ChargePeriodEnd": _end_stamp(charged),
        "ConsumedQuantity": kwh, "ConsumedUnit": "kWh",
        "ContractedCost": cost, "ContractedUnitPrice": price.amount_per_kwh,
        "EffectiveCost": cost,
        "InvoiceIssuerName": billing.issuer,
        "ListCost": cost, "ListUnitPrice": price.amount_per_kwh,
        "PricingCategory": "Standard",
        "PricingQuantity": kwh, "PricingUnit": "kWh",
        "ProviderName": billing.provider, "PublisherName": billing.provider,
        "RegionId": billing.region or None, "RegionName": billing.region or None,
        "ResourceId": one.run_id, "ResourceName": name, "ResourceType": "Run",
        "ServiceCategory": "AI and Machine Learning", "ServiceName": "Electricity of AI runs",
        "SkuId": "electricity", "SkuPriceId": f"electricity-{price.currency}",
        "SubAccountId": one.project, "SubAccountName": one.project,
        "Tags": json.dumps(dict(sorted(tags.items())), ensure_ascii=False, separators=(",", ":")),
        "x_EnergyJoules": energy_j,
        "x_EnergyLowJoules": max(0.0, energy_j - half_j), "x_EnergyHighJoules": energy_j + half_j,
        "x_EnergyItJoules": it_j,
        "x_HumJoules": None if one.hum is None else one.hum.value.joules * share,
        "x_WorkJoules": None if one.work is None else one.work.value.joules * share,
        "x_PowerUsageEffectiveness": None if given.pue is None else pue,
        "x_EnergyGrade": str(one.grade), "x_EnergyMethod": str(one.total.method), "x_EnergyScope": str(one.total.scope),
        "x_MeterSource": one.total.source, "x_Phase": str(one.phase),
        "x_Units": None if one.units is None else one.units * share, "x_UnitName": one.unit or None,
        "x_CostGrade": str(Grade.worst(grades)),
        "x_CarbonLocationGrams": carbon["location"], "x_CarbonMarginalGrams": carbon["marginal"],
        "x_CarbonFactorScope": None if given.intensity is None else str(given.intensity[0].scope),
        "x_CarbonSource": None if given.intensity is None else given.intensity[1].source,
        "x_ReceiptAddress": address,
    }  # fmt: skip


def _end_stamp(charged: Interval) -> str:
    """A period has a length, however short the run was."""
    start, end = (when.replace(microsecond=0) for when in (charged.start, charged.end))
    return _stamp(max(end, start + timedelta(seconds=1)))


def _stamp(when: Any) -> str:
    """FOCUS date and time: ISO 8601 in UTC, to the second; a charge period is half-open, as our intervals are."""
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"
