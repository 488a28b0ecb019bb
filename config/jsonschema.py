"""The JSON schema of a settings file, for editors that complete and check while one writes."""

from __future__ import annotations

from pydantic import JsonValue
from pydantic.json_schema import GenerateJsonSchema

from config.settings import REFERENCE, Settings


def schema() -> dict[str, JsonValue]:
    """The schema of the whole settings file (JSON Schema 2020-12), secrets as references."""
    made = Settings.model_json_schema()
    _secrets_as_references(made)
    return {"$schema": GenerateJsonSchema.schema_dialect, **made, "title": "Assentry settings"}


def _secrets_as_references(part: JsonValue) -> None:
    """Changes every secret below this part so that editors mark literal ones."""
    if isinstance(part, list):
        for item in part:
            _secrets_as_references(item)
    if not isinstance(part, dict):
        return
    if part.get("format") == "password":
        # Nothing at all is a password too: some upstreams take the key as the user name.
        part["pattern"] = f"^$|{REFERENCE}"
        del part["format"], part["writeOnly"]
    for item in part.values():
        _secrets_as_references(item)
