"""A process that measures and is killed: `python journalling.py FOLDER RUN_ID [LEDGER]`.

It notes ever more energy (synthetic: 1 J a note) and prints each after the journal has it. With a ledger it finishes
the run at 20 J, and says so. It waits for a line on its standard input before each note.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from outweigh.core import Energy, Grade, Interval, Measurement, Method, Phase, Receipt, RunStatus, Scope
from outweigh.ledger import RunJournal, open_ledger

START = datetime(2026, 1, 1, tzinfo=UTC)


def reading(joules):
    interval = Interval(START, START + timedelta(seconds=joules))
    return Measurement(Energy(joules), interval, Scope.PACKAGE, Grade.B, Method.REPLAYED, "synthetic")


def journal(folder, run_id="run", every_s=0.0):
    return RunJournal(
        Path(folder), run_id, project="synthetic", phase=Phase.TRAINING, meter="replay", scope=Scope.PACKAGE,
        grade=Grade.B, method=Method.REPLAYED, source="synthetic", started=START, every_s=every_s,
        labels={"team": "made up"},
    )  # fmt: skip


def final(joules=20.0, run_id="run"):
    return Receipt(run_id, "synthetic", Phase.TRAINING, RunStatus.COMPLETED, reading(joules), None, None)


def main(folder, run_id, ledger=None):
    noted = journal(folder, run_id)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    for joules, _ in enumerate(sys.stdin, start=1):
        if ledger and joules == 20:
            noted.finish(open_ledger(ledger), final(20.0, run_id))
            joules = "finished"
        else:
            noted.seen(reading(float(joules)))
        sys.stdout.write(f"{joules}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
