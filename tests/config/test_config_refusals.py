"""Every refusal of energy.toml is a ConfigError with the line, the problem and a way out."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.config import load_project, loads_project
from outweigh.core.errors import ConfigError
from outweigh.core.project import Project

GOOD = Path(__file__).with_name("design_example.toml").read_text(encoding="utf-8")


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loads_project(text, Path("energy.toml"))
    return caught.value


def outcome(text: str) -> Project | ConfigError:
    try:
        return loads_project(text, Path("energy.toml"))
    except ConfigError as error:
        return error


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) >= 1
    return GOOD.replace(old, new, 1)


# what the file has, what we write instead, line of the key, words of the problem, words of the remedy
TABLE = [
    # unknown keys, with the nearest known one
    ("eta = 0.15", "etta = 0.15", 32, "unknown key 'etta' in [gate]", "Did you mean 'eta'?"),
    ("[gate]", "[gates]", 28, "unknown key 'gates' in the file", "Did you mean 'gate'?"),
    ("adapter =", "adaptor =", 7, "unknown key 'adaptor' in [task]", "Did you mean 'adapter'?"),
    ("low = 1.8e6", "lowest = 1.8e6", 4, "unknown key 'lowest' in [project.volume]", "Did you mean 'low'?"),
    ("margin = 0.01", "margn = 0.01", 10, "unknown key 'margn' in [task.guards[1]]", "Did you mean 'margin'?"),
    ("dataset =", 'tokenizer = "t"\ndataset =', 8, "unknown key 'tokenizer'", "[task.options]"),
    ("zone =", 'tariff = "t.toml"\nzone =', 37, "site.fra-1.tariff: tariff files are not read", "price ="),
    # what is missing, at the table that lacks it
    ('unit = "ticket"', "", 1, "[project] lacks 'unit'", 'Add unit = "ticket"'),
    ('capacity = "7.0 MW"', "", 36, "[site.fra-1] lacks 'capacity'", 'Add capacity = "7.0 MW"'),
    ('model = "models/minilm.onnx"', "", 12, "neither a model nor a from", "Add model"),
    ('limit = "180 W"', "", 23, "[budget.hum] sets no limit", "Add per_unit"),
    # numbers no arithmetic carries
    ("confidence = 0.95", "confidence = 0.9999999", 30, "resampling cannot tell", "at most 0.9999"),
    ('unit = "ticket"', 'unit = "ticket"\nhorizon_months = 1e-300', 4, "written off within the hour", "at least 0.001"),
    ("eta = 0.15", "eta = 1e300", 32, "half the error", "at most 10"),
    ('"0.90 EUR"', '"1e300 EUR"', 34, "gate.value.amount is 1e+300 EUR", "at most 1e+12"),
    ("ceiling = 0.97", "equivalence = 1e-300", 9, "task.primary.equivalence is 1e-300", "such as 0.005"),
    # units and signs
    ('"1.2 Wh"', '"5 W"', 20, "budget.serve.per_unit: '5 W' is not a valid energy", "'1.2 Wh'"),
    ('"1.2 Wh"', '"-5 Wh"', 20, "'-5 Wh' is not a valid energy limit", "not negative"),
    ('"1.2 Wh"', "5", 20, "5 is not a valid energy", "in quotes and with its unit"),
    ('"1.2 Wh"', '"lots"', 20, "'lots' is not a valid energy", "number and a unit"),
    ('"35 MWh"', '"-35 MWh"', 21, "budget.serve.total.limit: '-35 MWh'", "not negative"),
    ('"180 W"', '"-180 W"', 25, "budget.hum.limit: '-180 W' is not a valid power limit", "not negative"),
    ('"7.0 MW"', '"7.0 MWh"', 40, "site.fra-1.capacity: '7.0 MWh' is not a valid power", "'180 W'"),
    ('"0.12 USD/kWh"', '"0.12 USD"', 39, "site.fra-1.price: '0.12 USD' is not a valid energy price", "USD/kWh"),
    ('"0.12 USD/kWh"', '"0.12 XYZ/kWh"', 39, "'XYZ' is not a valid currency", "ISO 4217"),
    ('"0.90 EUR"', '"0.90 €"', 34, "gate.value.amount: '€' is not a valid currency", "ISO 4217"),
    ('"0.90 EUR"', '"-0.90 EUR"', 34, "gate.value.amount", "not negative"),
    ("[gate]", '[protocol]\nhum = "3"\n[gate]', 29, "protocol.hum: '3' is not a valid duration", "30 s"),
    ("[gate]", '[protocol]\nhum = "9e307 d"\n[gate]', 29, "protocol.hum", "finite"),
    ("[gate]", '[serving]\nhardware_price = "1 USD"\n[gate]', 29, "serving.hardware_price", "0.05 USD/h"),
    ('unit = "ticket"', 'unit = "t"\ncarbon_price = "9 USD/kg"', 4, "project.carbon_price", "100 USD/t"),
    # numbers out of their range
    ('"80%"', '"180%"', 26, "budget.hum.warn_at: '180%' is not a valid share", "up to 1"),
    ('"80%"', "true", 26, "budget.hum.warn_at: true is not a valid share", "80%"),
    ("ceiling = 0.97", "ceiling = 97", 9, "task.primary.ceiling: 97", "up to 1"),
    ("[gate]", "[serving]\nutilisation = 0\n[gate]", 29, "serving.utilisation: 0 is not a valid share", "above 0"),
    ("confidence = 0.95", "confidence = 95", 30, "gate.confidence is 95; it must be below 1", "confidence = 0.95"),
    ("confidence = 0.95", "confidence = nan", 30, "gate.confidence is nan, which is not finite", "confidence = 0.95"),
    ("confidence = 0.95", 'confidence = "0.95"', 30, "which is not a number", "confidence = 0.95"),
    ("alternatives = 1", "alternatives = 1.5", 33, "gate.alternatives is 1.5, which is not a whole number", "= 1"),
    ("alternatives = 1", "alternatives = true", 33, "gate.alternatives is true", "alternatives = 1"),
    ("alternatives = 1", "alternatives = 9223372036854775808", 33, "larger than TOML allows", "64 bits"),
    ("per_month = 3.0e6", "per_month = -3.0e6", 4, "project.volume.per_month is -3000000.0", "per_month ="),
    ("low = 1.8e6", "low = 4e6", 4, "project.volume.low is 4e+06, above per_month", "at most per_month"),
    ("idle = 1.6", "idle = 0.6", 38, "site.fra-1.pue: 0.6/1.25 is not a valid PUE", "at least 1"),
    ("idle = 1.6", "idel = 1.6", 38, "is not a valid PUE", "{ idle = 1.6, full = 1.25 }"),
    # guard margins
    ('"10%"', '"10"', 10, "task.guards[0].margin: '10' is not a valid margin", "'10%'"),
    ('"10%"', '"-10%"', 10, "task.guards[0].margin: '-10%'", "not negative"),
    ("margin = 0.01", "margin = -0.01", 10, "task.guards[1].margin: -0.01", "not negative"),
    ("ceiling = 0.97", 'margin = "1%"', 9, "task.primary.margin: '1%' is not a valid margin", "0.01"),
    ("ceiling = 0.97", "equivalence = 0", 9, "task.primary.equivalence is 0", "0.005"),
    ('"recall_urgent"', '"p95_latency_ms"', 10, "guards 'p95_latency_ms' a second time", "one guard"),
    # choices
    ('mode = "warn"', 'mode = "wran"', 29, 'gate.mode is "wran", which is not one of warn, enforce', "'warn'?"),
    ('min_grade = "B"', 'min_grade = "E"', 31, "not one of A, B, C, D", 'min_grade = "B"'),
    ('per = "month"', 'per = "mont"', 21, "budget.serve.total.per", "Did you mean 'month'?"),
    ('phase = "idle"', 'phase = "training"', 25, "limit is a power, which bounds the hum", 'phase = "idle"'),
    # names
    ('from = "base"', 'from = "bsae"', 15, "variants.int8.from names 'bsae'", "Did you mean 'base'?"),
    ('from = "base"', 'from = "int8"', 15, "circle: int8 -> int8", "a model of its own"),
    ('model = "models/minilm.onnx"', 'from = "int8"', 13, "circle: base -> int8 -> base", "on line 15"),
    ('from = "base"', 'from = "base"\nmodel = "m.onnx"', 15, "both a model and a from", "keep one"),
    ("[gate]", '[gate]\nincumbent = "bose"', 29, "gate.incumbent names 'bose'", "Did you mean 'base'?"),
    ("[gate]", '[gate]\nproposal = "zzz"', 29, "gate.proposal names 'zzz'", "Declared: base, int8"),
    ("[gate]", '[gate]\nanchor = "v1"', 29, "gate.anchor names 'v1'", "Declared: base, int8"),
    ('"quantize:int8-dynamic"', '"quantize int8"', 16, "variants.int8.levers[0]", "quantize:int8-dynamic"),
    ('"text-classification"', '"text classification"', 7, "cannot name an adapter", "text-classification"),
    ("[variants.int8]", '[variants."-x"]', 14, "'-x' cannot be a name in [variants]", "Use letters"),
    ("models/minilm.onnx", "package:torch", 13, "variants.base.model: 'package:torch'", "package:DISTRIBUTION/"),
    ("models/minilm.onnx", "package:a/../b", 13, "leaves the distribution a", "without '..'"),
    ("eval/tickets.parquet", " ", 8, "task.dataset: an empty reference", "path"),
    # shapes and text
    ('unit = "ticket"', 'unit = ""', 3, "project.unit is empty", 'unit = "ticket"'),
    ('"support-triage"', r'"a\u001b[31m"', 2, "project.name is not printable text", "one line"),
    ('"support-triage"', "2026-01-01", 2, "project.name is 2026-01-01, which is not text", "name ="),
    ("[task] ", "[[task]] ", 6, "task is an array, which is not a table", "a table [task]"),
    (
        'model = "models/minilm.onnx"',
        'model = "m"\noptions.a = [1]',
        14,
        "[1] is not a valid option (a)",
        "finite number",
    ),
    # not TOML at all
    ("[project]", "[project", 1, "not valid TOML", "brackets"),
    ('"ticket"', '"ticket', 3, "not valid TOML", "quotes"),
    ("[variants.int8]", "[variants.base]", 14, "Cannot declare [variants.base] twice", "twice"),
    ("confidence = 0.95", 'mode = "warn"', 30, "Cannot overwrite a value", "twice"),
]


@pytest.mark.parametrize(("old", "new", "line", "problem", "remedy"), TABLE)
def test_a_bad_file_is_refused_with_its_line_and_a_remedy(old: str, new: str, line: int, problem: str, remedy: str):
    error = refusal(changed(old, new))

    assert error.line == line
    assert problem in error.problem
    assert remedy in error.remedy
    assert error.exit_code == 2
    assert str(error) == f"energy.toml:{line}: {error.problem}. {error.remedy}"
    assert "\n" not in str(error)


def test_the_line_is_that_of_the_element_in_an_array_over_several_lines():
    several = changed(
        'guards  = [ { metric = "p95_latency_ms", margin = "10%" }, ',
        'guards = [\n  # tight\n  { metric = "p95_latency_ms", margin = "10%" },\n  { metric = "x", margin = -1 },\n  ',
    )

    assert refusal(several).line == 13


def test_the_line_is_that_of_the_key_when_tables_are_written_as_dotted_keys():
    dotted = GOOD.replace("volume = { per_month = 3.0e6, low = 1.8e6 }", "volume.per_month = 3\nvolume.low = 0")

    assert refusal(dotted).line == 5


def test_guards_written_as_an_array_of_tables_keep_their_lines():
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith("guards"))
    text += '\n[[task.guards]]\nmetric = "a"\nmargin = "1%"\n[[task.guards]]\nmetric = "b"\nmargin = "x"\n'

    error = refusal(text)

    assert error.problem.startswith("task.guards[1].margin")
    assert text.splitlines()[error.line - 1] == 'margin = "x"'


def test_the_first_problem_is_told_and_the_lines_of_the_others_are_named():
    three = changed('"1.2 Wh"', '"5 W"').replace("eta = 0.15", "eta = -1").replace('"7.0 MW"', '"7.0 MWh"')

    error = refusal(three)

    assert error.line == 20
    assert error.remedy.endswith("More to mend on lines 32, 40")


def test_a_misspelt_required_key_is_told_once():
    error = refusal(changed("adapter =", "adaptor ="))

    assert "More to mend" not in error.remedy


def test_a_variant_that_leads_into_a_circle_is_not_blamed_for_it():
    circle = '[variants.a]\nfrom = "b"\n[variants.b]\nfrom = "a"\n[variants.c]\nfrom = "a"\n'

    error = refusal(circle + GOOD)

    assert error.line == 2
    assert error.remedy.endswith("More to mend on line 4")


def test_an_empty_file_is_told_what_it_lacks():
    error = refusal("")

    assert error.line == 0
    assert "lacks 'project'" in error.problem
    assert str(error).startswith("energy.toml: the file lacks")


def test_a_missing_file_points_to_init(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_project(tmp_path)

    assert "outweigh init" in caught.value.remedy
    assert caught.value.path == str(tmp_path / "energy.toml")


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path):
    (tmp_path / "energy.toml").mkdir()

    with pytest.raises(ConfigError, match="cannot be read"):
        load_project(tmp_path)


def test_text_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path):
    (tmp_path / "energy.toml").write_bytes(b"[project]\nname = 'caf\xe9'\n")

    with pytest.raises(ConfigError) as caught:
        load_project(tmp_path)

    assert caught.value.line == 2
    assert "UTF-8" in caught.value.remedy


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = 1" + "0" * 5_000, "a = " + "{a = " * 20_000])
def test_a_file_that_would_exhaust_the_parser_is_refused(text: str):
    assert refusal(text).problem


def test_a_refusal_survives_the_way_back_from_a_worker():
    error = refusal(changed("eta = 0.15", "etta = 0.15"))

    copy = pickle.loads(pickle.dumps(error))

    assert (copy.line, copy.problem, copy.remedy) == (error.line, error.problem, error.remedy)


FRAGMENTS = [
    '"5 W"',
    "-1",
    "nan",
    "true",
    "[]",
    "{}",
    "[[x]]",
    "[gate]",
    "\n",
    '"',
    "=",
    ".",
    "1e999",
    "2026-01-01",
    "",
]


@given(
    cuts=st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 40), st.sampled_from(FRAGMENTS)), max_size=4),
)
def test_a_damaged_file_is_a_project_or_a_refusal_with_a_line_that_exists(cuts: list[tuple[int, int, str]]):
    text = GOOD
    for at, length, fragment in cuts:
        text = text[:at] + fragment + text[at + length :]

    found = outcome(text)

    assert isinstance(found, Project) or (0 <= found.line <= text.count("\n") + 1 and found.problem and found.remedy)


VALUES = st.sampled_from(["-1", "0", "1.5", "nan", "inf", "true", '""', '"x"', '"10%"', "[]", "[1]", "{}", "{ x = 1 }"])
LINES = [index for index, line in enumerate(GOOD.splitlines()) if " = " in line]


@given(line=st.sampled_from(LINES), value=VALUES)
def test_any_value_at_any_key_loads_or_is_refused_on_its_line(line: int, value: str):
    rows = GOOD.splitlines()
    rows[line] = f"{rows[line].split(' = ')[0]} = {value}"

    found = outcome("\n".join(rows))

    # Where the value is fine by itself, it may leave its table without content: told at the header, just above.
    assert isinstance(found, Project) or found.line in (line + 1, line)
