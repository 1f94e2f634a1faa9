"""What a store promises of plans that are followed, on every store that can."""

import importlib.util
import os
from contextlib import closing
from pathlib import Path

import pytest

from outweigh import registry
from outweigh.core.errors import LeaseLost, UsageError
from outweigh.core.following import StepKind
from outweigh.ports import KeepsFollowings

SERVER = Path(__file__).parents[1] / "stores" / "postgres_server.py"


@pytest.fixture(scope="session")
def postgres_url():
    spec = importlib.util.spec_from_file_location("postgres_server", SERVER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.binaries() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no PostgreSQL server here: apt-get install postgresql-15")
        pytest.skip("there is no PostgreSQL server here")
    with module.serving(durable=False) as server:
        server.sql("CREATE DATABASE followings")
        yield server.url("followings")


@pytest.fixture(params=["sqlite", "postgresql"])
def keeper(request, tmp_path):
    at = tmp_path / "ledger.sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with closing(registry.stores.get(request.param).open(at)) as store:
        yield store


def never(holder):
    return False


@pytest.fixture
def followed(keeper, request):
    """A following with two jobs, by a name of this test's own."""
    name = request.node.name
    assert keeper.follow(name, '{"a": 1}', {f"{name}-1": "one", f"{name}-2": "two"})
    return name


def test_a_store_keeps_followings(keeper):
    assert isinstance(keeper, KeepsFollowings)


def test_what_is_followed_is_read_back_and_begun_once(keeper, followed):
    assert not keeper.follow(followed, "other", {})
    body, jobs = keeper.followed(followed)
    assert (body, list(jobs.values())) == ('{"a": 1}', ["one", "two"])
    assert (followed, body) in set(keeper.followings(over=False))


def test_one_leads_until_it_lets_go_expires_or_is_gone(keeper, followed):
    first = keeper.lead(followed, "first", ttl_s=3600, gone=never)
    assert keeper.lead(followed, "second", ttl_s=3600, gone=never) is None
    assert keeper.leader(followed) == "first"

    second = keeper.lead(followed, "second", ttl_s=0, gone=lambda holder: holder == "first")
    third = keeper.lead(followed, "third", ttl_s=3600, gone=never)
    keeper.let_go(third)
    fourth = keeper.lead(followed, "fourth", ttl_s=3600, gone=never)

    assert first.fence < second.fence < third.fence < fourth.fence


def test_a_leader_that_was_replaced_writes_nothing(keeper, followed):
    first = keeper.lead(followed, "first", ttl_s=0, gone=never)
    keeper.lead(followed, "second", ttl_s=3600, gone=never)

    with pytest.raises(LeaseLost) as lost:
        keeper.write(
            first, ttl_s=60, bodies={f"{followed}-1": "spoilt"}, taking=[(f"{followed}-1", StepKind.PAUSE, "", "")]
        )
    keeper.let_go(first)

    assert lost.value.holder == "second"
    assert keeper.followed(followed)[1][f"{followed}-1"] == "one"
    assert list(keeper.steps(followed)) == []
    assert keeper.leader(followed) == "second"


def test_steps_are_numbered_without_a_gap_and_closed_one_by_one(keeper, followed):
    lease = keeper.lead(followed, "me", ttl_s=60, gone=never)
    taking = [(f"{followed}-{i}", StepKind.SUBMIT, "{}", "2026-12-01T00:00:00+00:00") for i in (1, 2)]
    one, two = keeper.write(lease, ttl_s=60, taking=taking)
    (three,) = keeper.write(lease, ttl_s=60, taking=taking[:1], outcomes={one.number: "done"})

    assert [step.number for step in (one, two, three)] == [1, 2, 3]
    assert [step.number for step in keeper.steps(followed, still_open=True)] == [2, 3]
    assert [step.outcome for step in keeper.steps(followed)] == ["done", "", ""]


def test_what_is_over_is_told_apart(keeper, followed):
    lease = keeper.lead(followed, "me", ttl_s=60, gone=never)
    keeper.write(lease, ttl_s=60, over=True, body="ended")

    assert followed in {name for name, _ in keeper.followings(over=True)}
    assert followed not in {name for name, _ in keeper.followings(over=False)}


def test_what_nobody_follows_is_a_slip_of_the_pen(keeper):
    with pytest.raises(UsageError):
        keeper.followed("nothing")
    with pytest.raises(UsageError):
        keeper.lead("nothing", "me", ttl_s=1, gone=never)
