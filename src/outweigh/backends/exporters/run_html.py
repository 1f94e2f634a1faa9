"""`run.html`: what came of a plan as one page that works offline: jobs over sites, predicted and actual, the saving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._page import compose
from outweigh.backends.exporters._timetables import (
    SCRIPT,
    SOURCE_HEADINGS,
    amount,
    mass,
    seconds,
    site_strips,
    source_rows,
    when,
)
from outweigh.core.rounding import fixed, si
from outweigh.registry import exporters

MOST_DRAWN: Final = 80  # jobs in the chart; more rows than that nobody reads
MOST_LISTED: Final = 200  # jobs in the table; the JSON of the run holds all
_MOST_SAID: Final = 60
_UNKNOWN: Final = "not known"
#: A cell of a table: its text, or its text and a smaller line below.
Cell = str | tuple[str, str]


@exporters.register("run-html")
class RunHtmlExporter:
    """The report of a run for people. Loads nothing from anywhere: a content security policy in the file forbids it."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    """The page as text; `doc` is what came of a plan, of schema outweigh.run/1."""
    currency = doc["currency"]
    word, outcome = _verdict(doc)
    jobs = _by_site(doc["jobs"])
    return compose(
        "run.html.j2",
        SCRIPT,
        "run.js",
        doc=doc,
        data=chart_data(doc),
        outcome=outcome,
        headline=word,
        trial=_trial(doc) if doc["trial"] else "",
        about=_about(doc, word),
        decided=_saved(doc),
        predicted=_predicted(doc),
        key_figures=list(_key_figures(doc)),
        carbon_words=doc["carbon_meaning"],
        saving_headings=("what", "starting at once", "as it ran", "saved", "95 % interval", "share"),
        saving_rows=list(_saving_rows(doc)),
        total_headings=("together", "IT energy", "facility energy", "cost of energy", "carbon"),
        total_rows=[
            _total_row(name, doc[key], currency)
            for name, key in (("predicted", "predicted"), ("actual", "actual"), ("starting at once", "at_once"))
        ],
        job_headings=("job", "site", "start", "end", "in time", "run time", "energy", "cost of energy", "carbon"),
        job_rows=[_job_row(job, currency) for job in jobs[:MOST_LISTED]],
        source_headings=SOURCE_HEADINGS,
        source_rows=list(source_rows(doc["sites"])),
        notes=list(_notes(doc)),
    )


def chart_data(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What the charts draw: the jobs that drew the most energy, by site and start. Times are seconds since 1970."""
    start_s, step_s = seconds(doc["horizon"]["start"]), doc["horizon"]["step_s"]
    drawn = sorted(doc["jobs"], key=lambda job: -_energy_kwh(job))[:MOST_DRAWN]
    ends_s = [seconds(stint["end"]) for job in drawn for stint in job["stints"]]
    asked_s = [seconds(job["deadline"]) for job in drawn]
    # A horizon is often longer than its jobs, and a late job may leave it.
    until_s = max([*ends_s, min(max([*ends_s, *asked_s], default=0.0), seconds(doc["horizon"]["end"]))], default=0.0)
    until_s = max(until_s, start_s + step_s)
    steps = doc["horizon"]["steps"]
    return {
        "currency": doc["currency"],
        "edges": [start_s + i * step_s for i in range(steps + 1)],
        "until": until_s,
        "sites": site_strips(doc["sites"]),
        "jobs": [
            {
                "key": job["key"],
                "name": job["name"],
                "release": min(seconds(job["release"]), until_s),
                "deadline": min(seconds(job["deadline"]), until_s),
                "late": job["deadline_met"] is False,
                "planned": {
                    "site": job["planned"]["site"],
                    "start": min(seconds(job["planned"]["start"]), until_s),
                    "end": min(seconds(job["planned"]["end"]), until_s),
                },
                "stints": [
                    {"site": stint["site"], "start": seconds(stint["start"]), "end": seconds(stint["end"])}
                    for stint in job["stints"]
                ],
            }
            for job in _by_site(drawn)
        ],
        "left_out": len(doc["jobs"]) - len(drawn),
        "savings": [
            {
                "what": name,
                "share": saving["share"],
                "low": None if low is None else low / saving[f"at_once_{unit}"],
                "high": None if high is None else high / saving[f"at_once_{unit}"],
            }
            for name, saving, unit in _savings(doc)
            if saving[f"at_once_{unit}"] > 0
            for low, high in [(saving[f"low_{unit}"], saving[f"high_{unit}"])]
        ],
    }


def _savings(doc: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Of what is known: its name, the saving, the unit of its keys."""
    saving = doc["saving"]
    price = f"{doc['carbon_price_per_tonne']:g} {doc['currency']}/t"
    for name, of, unit in (
        ("carbon", "carbon", "kg"),
        ("cost of energy", "cost", "currency"),
        (f"cost + carbon at {price}", "objective", "currency"),
    ):
        if saving[of]["jobs"]:
            yield name, saving[of], unit


def _verdict(doc: Mapping[str, Any]) -> tuple[str, str]:
    """The word of the page, and which colour it has. Deadlines come before savings."""
    counts = doc["counts"]
    if counts["late"]:
        return f"{counts['late']} of {counts['jobs']} jobs not in time", "fail"
    if not doc["over"]:
        return f"{counts['open']} of {counts['jobs']} jobs still open", "inconclusive"
    carbon = doc["saving"]["carbon"]
    if not carbon["jobs"]:
        return "Carbon not known", "inconclusive"
    low, high = carbon["low_kg"], carbon["high_kg"]
    outcome = "pass" if low is not None and low > 0 else "fail" if high is not None and high < 0 else "inconclusive"
    share = f"{100 * abs(carbon['share']):.1f}"
    if share == "0.0":
        return "No less carbon", outcome
    return f"{share} % {'less' if carbon['share'] > 0 else 'more'} carbon", outcome


def _about(doc: Mapping[str, Any], word: str) -> str:
    counts, sites = doc["counts"], len(doc["sites"])
    than = "than starting at once; " if word.endswith((" less carbon", " more carbon", "No less carbon")) else ""
    return (
        f"{than}{counts['in_time']} of {counts['jobs']} jobs done in time on {doc['on'].partition(':')[0]}, "
        f"at {sites} site{'s' if sites > 1 else ''}"
    )


def _saved(doc: Mapping[str, Any]) -> str:
    """The saving in carbon, with its interval and what that means."""
    carbon = doc["saving"]["carbon"]
    if not carbon["jobs"]:
        return "What was saved against starting at once is not known: no job that ended has a known energy and carbon."
    less = "less" if carbon["saved_kg"] >= 0 else "more"
    said = (
        f"{mass(abs(carbon['saved_kg']))} of CO2e {less} than the {mass(carbon['at_once_kg'])} of the same jobs "
        f"started at once, at home ({_percent(carbon['share'])} saved)."
    )
    if carbon["left_out"]:
        left_out = carbon["left_out"]
        said += f" {left_out} of {left_out + carbon['jobs']} are left out: not all of their carbon is known."
    low, high = carbon["low_kg"], carbon["high_kg"]
    if low is None or high is None:
        return f"{said} One job alone has no interval."
    said += f" 95 % interval by job: {_mass_between(low, high)} saved."
    return f"{said} It holds zero: as much may be chance." if low <= 0 <= high else said


def _predicted(doc: Mapping[str, Any]) -> str:
    """How far the prediction was off, of the jobs that ended."""
    before, after = doc["predicted"], doc["actual"]
    parts = [
        f"{name} {_off(after[key], before[key])}"
        for name, key in (("carbon", "carbon_kg"), ("cost", "energy_cost"), ("energy", "energy_kwh"))
        if after[key] is not None and before[key]
    ]
    return f"Actual against predicted: {', '.join(parts)}." if parts else "Nothing can be set against its prediction."


def _key_figures(doc: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    after = doc["actual"]
    yield "carbon", _known(after["carbon_kg"], mass)
    yield "cost of energy", _known(after["energy_cost"], lambda value: amount(value, doc["currency"]))
    yield "facility energy", _known(after["facility_energy_kwh"], _kwh)
    yield "planned again", f"{doc['replans']} times" if doc["replans"] != 1 else "once"


def _trial(doc: Mapping[str, Any]) -> str:
    clock = f"its clock ran {doc['clock_factor']:g} times as fast" if doc["clock_factor"] != 1 else "nothing ran"
    return f"A trial: {clock}. The figures are the plan's; nothing was measured."


def _saving_rows(doc: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, saving, unit in _savings(doc):
        before, saved, low, high = (saving[f"{what}_{unit}"] for what in ("at_once", "saved", "low", "high"))

        def show(value: float, unit: str = unit) -> str:
            return mass(value) if unit == "kg" else amount(value, doc["currency"])

        between = _mass_between(low, high) if unit == "kg" else _amount_between(low, high, doc["currency"])
        yield name, show(before), show(before - saved), show(saved), between, _percent(saving["share"])


def _total_row(name: str, totals: Mapping[str, Any], currency: str) -> tuple[Cell, ...]:
    return (
        name,
        _known(totals["energy_kwh"], _kwh),
        _known(totals["facility_energy_kwh"], _kwh),
        (_known(totals["energy_cost"], lambda value: amount(value, currency)), _left_out(totals["unpriced_kwh"])),
        (_known(totals["carbon_kg"], mass), _left_out(totals["carbon_unknown_kwh"])),
    )


def _left_out(kwh: float | None) -> str:
    return f"without {_kwh(kwh)}" if kwh else ""


def _job_row(job: Mapping[str, Any], currency: str) -> tuple[Cell, ...]:
    before, after = job["planned"], job["actual"]
    name = (job["name"], job["state"] if job["state"] != "completed" else "")
    met = {True: "yes", False: "no", None: ""}[job["deadline_met"]]
    due = f"due {when(job['deadline'])[5:]}"
    if after is None:
        return name, before["site"], ("", f"planned {when(before['start'])[5:]}"), ("", due), met, "", "", "", ""
    sites = ", ".join(site for site in after["sites"] if site) or before["site"]
    return (
        name,
        (sites, "" if sites == before["site"] else f"planned {before['site']}"),
        (when(after["start"])[5:], f"planned {when(before['start'])[5:]}"),
        (when(after["end"])[5:], due),
        (met, "" if job["deadline_met"] is not False else _late_by(after["end"], job["deadline"])),
        (f"{after['run_s'] / 3600:.2f} h", _planned(before["run_s"], after["run_s"], lambda s: f"{s / 3600:.2f} h")),
        *(
            (_known(after[key], show), _planned(before[key], after[key], show))
            for key, show in (
                ("energy_kwh", _kwh),
                ("energy_cost", lambda value: amount(value, currency)),
                ("carbon_kg", mass),
            )
        ),
    )


def _late_by(end: str, deadline: str) -> str:
    late_s = seconds(end) - seconds(deadline)
    return f"{late_s / 60:.0f} min late" if late_s > 0 else ""


def _planned(before: float | None, after: float | None, show: Any) -> str:
    if before is None or after is None:
        return ""
    return f"{show(before)}, {_off(after, before)}" if before else show(before)


def _off(after: float, before: float) -> str:
    """
    >>> _off(103.0, 100.0), _off(100.0, 100.0)
    ('+3.0 %', '±0 %')
    """
    return _percent(after / before - 1)


def _percent(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "±0 %" if text in ("+0.0", "-0.0") else f"{text} %".replace("-", "\N{MINUS SIGN}")


def _notes(doc: Mapping[str, Any]) -> Iterator[str]:
    """What has to be known to trust the figures, then what happened."""
    ran = [job["actual"] for job in doc["jobs"] if job["actual"]]
    known = [one for one in ran if one["energy_kwh"] is not None and not one["measured"]]
    declared = sum(one["grade"] == "D" for one in known)
    if declared:
        yield (
            f"Energy of {declared} of {len(ran)} jobs is the declared power times the time at work: grade D, ± 50 %, "
            "and not measured."
        )
    if declared < len(known):
        yield f"Energy of {len(known) - declared} of {len(ran)} jobs is modelled, and not measured."
    without = doc["in_no_sum"]
    if without["lost"]:
        yield f"{without['lost']} of {len(ran)} jobs are lost: nobody knows what they drew, and they are in no sum."
    if without["energy_not_known"]:
        yield f"What {without['energy_not_known']} of {len(ran)} jobs drew is not known; they are in no sum."
    latest = f"rates, of {when(doc['rates_issued'])} UTC" if doc["rates_issued"] else "rates, which are the plan's"
    yield (
        "Predicted is the first plan at the rates it was made on; actual is where and when a job ran, at the latest "
        f"{latest}."
    )
    yield (
        "Starting at once is the same work at the same power, without what pauses added, at its release, at home, "
        "waiting where there is no room. The interval takes the jobs as a sample of their like (Student's t over "
        "jobs); it does not hold the error of carbon figures or of declared powers, which both sides share."
    )
    happened = [f"{job['name']}: {note}" for job in doc["jobs"] for note in job["notes"]]
    said = [*doc["said"], *happened]
    yield from said[:_MOST_SAID]
    if len(said) > _MOST_SAID:
        yield f"... and {len(said) - _MOST_SAID} more lines; the JSON of the run has all of them."


def _by_site(jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Jobs of a site together, in the order they began or were to begin."""

    def place(job: Mapping[str, Any]) -> tuple[str, str, str]:
        if job["stints"]:
            return job["stints"][0]["site"], job["stints"][0]["start"], job["key"]
        return job["planned"]["site"], job["planned"]["start"], job["key"]

    return sorted(jobs, key=place)


def _energy_kwh(job: Mapping[str, Any]) -> float:
    return (job["actual"] or job["planned"])["energy_kwh"] or 0.0


def _known(value: float | None, show: Any) -> str:
    return _UNKNOWN if value is None else str(show(value))


def _kwh(value: float) -> str:
    return si(1e3 * value, "Wh")


def _mass_between(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "needs two jobs"
    return f"{mass(low)} to {mass(high)}"


def _amount_between(low: float | None, high: float | None, currency: str) -> str:
    if low is None or high is None:
        return "needs two jobs"
    return f"{fixed(low, 2)} to {fixed(high, 2)} {currency}"
