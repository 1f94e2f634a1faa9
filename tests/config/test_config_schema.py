"""The JSON Schema that ships says what the loader does, as far as a schema can."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from outweigh.config import json_schema, load_project, render_schema, schema_text, starter
from outweigh.config.schema import SCHEMA_FILE

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs" / "energy-toml.md"
EXAMPLE: dict[str, Any] = tomllib.loads((HERE / "design_example.toml").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json_schema()
KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
}
SAYS_NOTHING = {"title", "description", "examples", "default", "$schema", "$defs"}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """A validator for the keywords our schema uses (JSON Schema 2020-12); any other keyword is an error."""
    for keyword, said in schema.items():
        match keyword:
            case "$ref":
                held = accepts(SCHEMA["$defs"][said.rsplit("/", 1)[-1]], value)
            case "type":
                kinds = said if isinstance(said, list) else [said]
                held = any(
                    isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
                    for kind in kinds
                )
            case "anyOf":
                held = any(accepts(one, value) for one in said)
            case "enum":
                held = value in said
            case "pattern":
                held = not isinstance(value, str) or re.search(said, value) is not None
            case "minLength":
                held = not isinstance(value, str) or len(value) >= said
            case "minimum":
                held = not isinstance(value, int | float) or value >= said
            case "maximum":
                held = not isinstance(value, int | float) or value <= said
            case "exclusiveMinimum":
                held = not isinstance(value, int | float) or value > said
            case "exclusiveMaximum":
                held = not isinstance(value, int | float) or value < said
            case "items":
                held = not isinstance(value, list) or all(accepts(said, one) for one in value)
            case "required":
                held = not isinstance(value, dict) or all(key in value for key in said)
            case "properties":
                held = not isinstance(value, dict) or all(
                    accepts(one, value[key]) for key, one in said.items() if key in value
                )
            case "additionalProperties":
                others = value.keys() - schema.get("properties", {}).keys() if isinstance(value, dict) else set()
                held = not others if said is False else all(accepts(said, value[key]) for key in others)
            case _:
                assert keyword in SAYS_NOTHING, f"the schema uses {keyword}, which this test does not know"
                held = True
        if not held:
            return False
    return True


def test_the_schema_that_ships_is_the_one_the_code_writes():
    assert schema_text() == render_schema(), "run: python scripts/write_schema.py"


def test_the_schema_accepts_the_example_of_the_design_and_the_starter():
    assert accepts(SCHEMA, EXAMPLE)
    assert accepts(SCHEMA, tomllib.loads(starter("p", "u")))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("etta",), 1),
        (("gate", "etta"), 0.15),
        (("task", "primary", "ceilng"), 0.9),
        (("variants", "base", "modl"), "m"),
        (("gate", "confidence"), 95),
        (("gate", "confidence"), "0.95"),
        (("gate", "mode"), "wran"),
        (("budget", "serve", "per_unit"), "5 W"),
        (("budget", "serve", "per_unit"), 5),
        (("budget", "serve", "warn_at"), True),
        (("budget", "serve", "total"), {"limit": "35 MWh"}),
        (("site", "fra-1", "pue"), {"idle": 1.6}),
        (("site", "fra-1", "pue"), 0.5),
        (("site", "fra-1", "tariff"), "t.toml"),
        (("task", "guards"), [{"metric": "m", "margin": "10"}]),
        (("task", "options"), {"a": [1]}),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(path: tuple[str, ...], value: object):
    changed = copy.deepcopy(EXAMPLE)
    *outer, last = path
    table = changed
    for key in outer:
        table = table[key]
    table[last] = value

    assert not accepts(SCHEMA, changed)


def test_no_key_of_the_schema_may_be_null():
    assert "null" not in json.dumps(SCHEMA)


def test_every_key_has_a_description():
    bare = [
        f"{name}.{key}"
        for name, table in SCHEMA["$defs"].items()
        for key, node in table.get("properties", {}).items()
        if "description" not in node
    ]

    assert bare == []


def test_the_examples_in_the_schema_are_what_the_schema_accepts():
    for table in SCHEMA["$defs"].values():
        for key, node in table.get("properties", {}).items():
            constraints = {keyword: said for keyword, said in node.items() if keyword != "default"}
            for example in node.get("examples", ()):
                assert accepts(constraints, example), (key, example)


def test_the_starter_points_editors_to_the_schema_by_its_name():
    assert starter("p", "u").splitlines()[0] == f"#:schema ./{SCHEMA_FILE}"


# --- the reference page ------------------------------------------------------------------------------


def test_the_reference_names_every_key_of_the_schema():
    page = DOCS.read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([a-z0-9_]+)`", page, re.MULTILINE))
    keys = {key for table in SCHEMA["$defs"].values() for key in table.get("properties", {})}

    assert keys - documented == set()
    assert documented - keys == set()


def test_the_example_on_the_reference_page_loads(tmp_path: Path):
    blocks = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "energy.toml").write_text(blocks[0], encoding="utf-8")

    project = load_project(tmp_path)

    assert project.gate.proposal
    assert accepts(SCHEMA, tomllib.loads(blocks[0]))
