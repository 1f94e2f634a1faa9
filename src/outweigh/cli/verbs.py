"""Every verb, its one-line summary and the file it lives in. Nothing is imported until a verb is typed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of the command line, and the file it lives in."""

    name: str
    summary: str
    module: str


VERBS: tuple[Verb, ...] = (
    Verb("init", "write a commented energy.toml", "init"),
    Verb("doctor", "probe every meter, task, store and source: what it sees, how well, why not", "doctor"),
    Verb("measure", "run a command and keep its receipt: hum and work apart", "measure"),
    Verb("compare", "quality, latency and J per unit of variants, interleaved, with intervals", "compare"),
    Verb("shrink", "make cheaper variants with real levers and compare them", "shrink"),
    Verb("gate", "weigh a proposal against budget, alternatives and benefit", "gate"),
    Verb("review", "the main job: compare, shrink, gate and plan on one project, one report", "review"),
    Verb("estimate", "energy, cost and carbon before any code runs", "estimate"),
    Verb("grid", "zones, carbon, prices and the most that shifting could save", "grid"),
    Verb("plan", "where and when to run, with a proof of how good the plan is", "plan"),
    Verb("run", "execute a plan or a job: wait, start, pause, resume, re-plan", "run"),
    Verb("whatif", "levers, tariffs, cooling, hardware, supply and policy as curves", "whatif"),
    Verb("budget", "status, burn rate and forecast of every budget line", "budget"),
    Verb("ledger", "list, show, verify, export and import receipts", "ledger"),
    Verb("report", "receipts in the forms of standards, sheets for people, a review again", "report"),
    Verb("serve", "dashboard, REST API, Carbon Aware API and metrics; tokens of who may ask", "serve"),
)
