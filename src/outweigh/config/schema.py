"""The JSON Schema of energy.toml: what editors complete and check, and what refusals take their hints from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from outweigh.config.tables import EnergyToml

SCHEMA_FILE = "energy.schema.json"
Node = dict[str, object]


class _TomlSchema(GenerateJsonSchema):
    """TOML has no null: an optional key is left out, never empty."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) in (None, "", [], {}):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def json_schema() -> Node:
    """JSON Schema (draft 2020-12) of energy.toml. Limits that need units read are left to `load_project`."""
    schema: Node = EnergyToml.model_json_schema(by_alias=True, schema_generator=_TomlSchema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def render_schema() -> str:
    """`json_schema()` as the text of the file that ships with the package."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def schema_text() -> str:
    """The schema file as shipped, to be laid beside an energy.toml."""
    return resources.files("outweigh.data").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")


class Shape:
    """The schema of one kind of file, looked up by paths of keys."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._schema: Node = model.model_json_schema(by_alias=True, schema_generator=_TomlSchema)

    def node_at(self, path: Sequence[str | int]) -> Node:
        """The part of the schema that describes the value at `path`; empty where the schema does not know it."""
        node = self._schema
        for part in path:
            node = self._child(node, part)
        return node

    def known_keys(self, path: Sequence[str | int]) -> list[str]:
        """Keys the table at `path` may have; empty for a table of free names."""
        properties = self.node_at(path).get("properties")
        return list(properties) if isinstance(properties, dict) else []

    def _child(self, node: Node, part: str | int) -> Node:
        properties = node.get("properties")
        if isinstance(part, int):
            found = node.get("items")
        elif isinstance(properties, dict) and part in properties:
            found = properties[part]
        else:
            found = node.get("additionalProperties")
        if not isinstance(found, dict):
            return {}
        reference = found.get("$ref")
        definitions = self._schema.get("$defs")
        if isinstance(reference, str) and isinstance(definitions, dict):
            # What stands beside a reference (description, examples of this very key) wins over what it points to.
            return {**definitions[reference.rsplit("/", 1)[-1]], **found}
        return found


@cache
def shape_of(model: type[BaseModel]) -> Shape:
    return Shape(model)
