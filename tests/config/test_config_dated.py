"""What an energy.toml says with a date: waivers, changes of budgets, and the roadmap."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from outweigh.config import loads_project
from outweigh.core.errors import ConfigError
from outweigh.core.quantities import Energy
from outweigh.core.roadmap import Planned, Quarter

GOOD = Path(__file__).with_name("design_example.toml").read_text(encoding="utf-8")
WAIVER = """
[[waiver]]
proposal = "int8"
content = "9c1185a5c5e9"
verdict = "2b8f61a9e1c4"
owner = "product"
reason = "the contract names it"
expires = 2027-06-30
"""
NESTED = """
[budget.company]
phase = "inference"
total = { limit = "40 MWh", per = "month" }
[budget.product]
phase = "inference"
parent = "company"
total = { limit = "9 MWh", per = "week" }
"""
FEATURE = """
[[roadmap]]
feature = "summaries"
quarter = "2027Q1"
volume_per_month = 2.0e6
budget = "serve"
energy_per_unit = "3 J"
source = "a data sheet"
"""


def loaded(more: str):
    return loads_project(GOOD + more, Path("energy.toml"))


def refused(more: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loaded(more)
    return caught.value


def test_a_waiver_counts_until_the_day_it_names_begins_in_utc():
    (waiver,) = loaded(WAIVER).waivers
    assert waiver.expires == datetime(2027, 6, 30, tzinfo=UTC)
    assert waiver.owner == "product"
    assert not waiver.parts


@pytest.mark.parametrize("key", ["owner", "reason", "expires", "proposal", "content", "verdict"])
def test_a_waiver_without_one_of_its_words_is_refused_with_the_line_to_add(key):
    without = "\n".join(line for line in WAIVER.splitlines() if not line.startswith(f"{key} "))
    error = refused(without)
    assert f"[waiver[0]] lacks {key!r}" in error.problem
    assert error.remedy.startswith(f"Add {key} = ")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('owner = "product"', 'owner = "  "', "'  ' is not a valid waiver owner"),
        ('reason = "the contract names it"', 'reason = ""', "waiver[0].reason is empty"),
        ("2027-06-30", '"soon"', "'soon' is not a valid day"),
        ("2027-06-30", "2027-06-30T12:00:00", "is not a valid day"),
        ("9c1185a5c5e9", "9c11", "'9c11' is not a valid waiver content"),
    ],
)
def test_a_waiver_that_says_nothing_definite_is_refused(old, new, problem):
    assert problem in refused(WAIVER.replace(old, new)).problem


def test_a_waiver_may_speak_of_a_variant_that_only_a_pull_request_brings():
    assert loaded(WAIVER.replace('"int8"', '"to-come"')).waivers[0].proposal == "to-come"


def test_lines_that_are_part_of_a_line_are_read_with_their_dated_changes():
    project = loaded(
        NESTED + '[[budget.company.changes]]\nsince = 2027-01-01\ntotal = "60 MWh"\nreason = "r"\nowner = "o"\n'
    )
    company, product = (line for line in project.budgets if line.name in ("company", "product"))
    assert product.parent == "company"
    assert company.at(datetime(2026, 12, 31, tzinfo=UTC)).total == Energy.kwh(40_000)
    assert company.at(datetime(2027, 1, 1, tzinfo=UTC)).total == Energy.kwh(60_000)


@pytest.mark.parametrize(
    ("more", "problem", "remedy"),
    [
        (NESTED.replace("40 MWh", "39 MWh"), "39000 kWh is not a valid", "promise 39133"),
        (NESTED.replace('parent = "company"', 'parent = "compny"'), "no budget line is called that", "'company'"),
        (NESTED.replace('parent = "company"', 'parent = "product"'), "product -> product", "part of itself"),
        (
            NESTED + '[[budget.company.changes]]\nsince = 2027-01-01\ntotal = "20 MWh"\nreason = "r"\nowner = "o"\n',
            "from 2027-01-01 on, 20000 kWh",
            "raise it or cut one",
        ),
        (NESTED + '[[budget.company.changes]]\nsince = 2027-01-01\nreason = "r"\nowner = "o"\n', "changes nothing", ""),
        (
            NESTED + '[[budget.company.changes]]\nsince = 2027-01-01\ntotal = "50 MWh"\nowner = "o"\n',
            "lacks 'reason'",
            "Add reason",
        ),
        (
            NESTED
            + 2 * '[[budget.company.changes]]\nsince = 2027-01-01\ntotal = "50 MWh"\nreason = "r"\nowner = "o"\n',
            "a second change of the same day",
            "one change a day",
        ),
        (
            NESTED + '[[budget.company.changes]]\nsince = 2027-01-01\nlimit = "5 W"\nreason = "r"\nowner = "o"\n',
            "does not limit",
            "to begin with",
        ),
    ],
)
def test_lines_that_promise_more_than_there_is_or_change_without_a_word_are_refused(more, problem, remedy):
    error = refused(more)
    assert problem in error.problem
    assert remedy in error.remedy


def test_a_planned_feature_keeps_what_was_thought_of_it_and_why():
    (feature,) = loaded(FEATURE).roadmap
    assert feature.quarter == Quarter(2027, 1)
    assert feature.planned == Planned(Energy(3.0), "a data sheet")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('source = "a data sheet"', "", "'' is not a valid source"),
        ('energy_per_unit = "3 J"', 'variant = "int8"', "roadmap[0].source is told of a figure that is not there"),
        ("2027Q1", "2027Q5", "'2027Q5' is not a valid quarter"),
        ('budget = "serve"', 'budget = "srve"', "no budget line is called that"),
        ('source = "a data sheet"', 'source = "s"' + FEATURE, "a second entry of 'summaries' for 2027Q1"),
        ("3 J", "0 J", "is not a valid planned energy per unit"),
    ],
)
def test_an_entry_of_the_roadmap_that_rests_on_nothing_is_refused(old, new, problem):
    assert problem in refused(FEATURE.replace(old, new)).problem
