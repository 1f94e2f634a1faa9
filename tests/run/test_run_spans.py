"""Spans of time that no run can have, at the command line: refused with a sentence before anything is begun."""

import json

import pytest

from outweigh.cli.main import run

CMD = ("--offline", "--zone", "DE", "--", "true")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--expect", "1e300h", *CMD], "366 d"),
        (["--expect", "1e308h", *CMD], "366 d"),
        (["--expect", "1e9h", *CMD], "366 d"),
        (["--deadline", "1e300h", *CMD], "14 d"),
        (["--every", "1e300", "--on", "simulated:fr,se", "plan.json"], "up to a day"),
        (["--every", "nan", "--on", "simulated:fr,se", "plan.json"], "up to a day"),
        (["--clock-factor", "1e300", "--on", "simulated:fr,se", "plan.json"], "0.001 to 100000"),
        (["--clock-factor", "1e-300", "--on", "simulated:fr,se", "plan.json"], "0.001 to 100000"),
    ],
)
def test_a_span_that_no_run_can_have_is_refused(args, said, day, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps(day.planned([day.job()])))

    assert run(["run", *args]) == 125
    assert said in capsys.readouterr().err
