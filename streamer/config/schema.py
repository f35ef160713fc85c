"""The model of the configuration → its JSON Schema (2020-12), for editors and for checks by others."""

from __future__ import annotations

import json
from typing import Any

from streamer.config.model import Config
from streamer.units import exact

_EXACT = ("size", "duration")
_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def schema_text() -> str:
    """Return the schema as text, the same for the same version."""
    schema = _mend(Config.model_json_schema(by_alias=True))
    schema["properties"]["threads"]["description"] += "; as many as there are processors where left out"
    top = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "rosbag-streamer configuration",
    }
    return json.dumps(top, indent=2, ensure_ascii=False) + "\n"


def _mend(node: Any) -> Any:
    """Write defaults with their unit, and let ``${VAR}`` stand where a number or a truth value is wanted."""
    if isinstance(node, list):
        return [_mend(item) for item in node]
    if not isinstance(node, dict):
        return node
    kinds = [part.get("format") for part in (node, *node.get("anyOf", ())) if part.get("format") in _EXACT]
    found = {key: _mend(value) for key, value in node.items() if key not in ("title", "ge")}  # pydantic's leavings
    if kinds and isinstance(node.get("default"), int):
        found["default"] = exact(node["default"], kinds[0])
    if node.get("type") in ("integer", "number", "boolean"):
        plain = {key: found.pop(key) for key in list(found) if key not in ("default", "description")}
        found["anyOf"] = [plain, _VARIABLE]
    return found
