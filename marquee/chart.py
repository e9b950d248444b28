"""What the Helm chart's values.schema.json says of settings: so a misspelt or impossible one is refused before there are pods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from marquee.config import KNOWN, Known

SCHEMA: Final = Path(__file__).resolve().parents[1] / "deploy" / "helm" / "marquee" / "values.schema.json"
OWN: Final = ("worker.name", "worker.http_host", "worker.http_port", "api.http_host", "api.http_port")
"""The chart sets them itself, and all of `local`."""


def chart_schema() -> str:
    """values.schema.json as it has to be: written by hand but for what `settings` and `secrets` may have."""
    schema = json.loads(SCHEMA.read_text())
    given = [known for known in KNOWN.values() if known.name not in OWN and not known.name.startswith("local.")]
    schema["properties"]["settings"]["properties"] = _sections({known.name: _value(known) for known in given if not known.secret})
    schema["properties"]["secrets"]["properties"] = _sections({known.name: {"$ref": "#/$defs/secret"} for known in given})
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _sections(values: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """By section and key, and no others."""
    sections: dict[str, Any] = {}
    for name, value in values.items():
        section, key = name.split(".")
        sections.setdefault(section, {"type": "object", "additionalProperties": False, "properties": {}})["properties"][key] = value
    return sections


def _value(known: Known) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string"} | ({"pattern": f"^(?:{known.form.pattern})$"} if known.form else {})
    kinds: dict[Any, dict[str, Any]] = {
        str: text,
        bool: {"type": "boolean"},
        int: {"type": "integer"} | _span(known),
        float: {"type": "number"} | _span(known),
    }
    listed = {"type": "array", "items": text} | ({"minItems": 1} if known.some else {})
    return {"description": known.doc} | kinds.get(known.kind, listed)


def _span(known: Known) -> dict[str, float]:
    return {"minimum": known.least} | ({} if known.most is None else {"maximum": known.most})
