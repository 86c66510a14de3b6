"""How the API double writes: merge patches as an API server judges them, and who wrote what (`managedFields`)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from scaler.demo.kubernetes_paths import Refusal
from scaler.demo.kubernetes_store import JsonObject, Kind

MERGE_PATCH = "application/merge-patch+json"


def merged(document: JsonObject, patch: Mapping[str, Any]) -> JsonObject:
    """Return `document` after a JSON merge patch (RFC 7386)."""
    result = dict(document)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            there = result.get(key)
            result[key] = merged(there if isinstance(there, dict) else {}, value)
        else:
            result[key] = value
    return result


def patched(kind: Kind, there: JsonObject, patch: Mapping[str, Any], content_type: str) -> JsonObject:
    """Return `there` after `patch`; raises `Refusal` for another sort of patch or another object than it names.

    Plain JSON is taken for a merge patch, so that a demo or a test writes with one call; an API server would refuse it.
    """
    if content_type not in {MERGE_PATCH, "application/json"}:
        text = f"the body of the request was in an unknown format - accepted media types include: {MERGE_PATCH}"
        raise Refusal(415, "UnsupportedMediaType", text)
    name, theirs = there["metadata"]["name"], patch.get("metadata") or {}
    uid = theirs.get("uid")
    if uid is not None and uid != there["metadata"]["uid"]:
        text = f'{kind.kind} "{name}" is invalid: metadata.uid: Invalid value: "{uid}": field is immutable'
        raise Refusal(422, "Invalid", text)
    return merged(there, patch)


def note_manager(kind: Kind, document: JsonObject, written: Mapping[str, Any], manager: str, wall: float) -> JsonObject:
    """Return `document` with `manager` among those that wrote it, at Unix time `wall`, with the fields of `written`.

    Annotations and labels that it writes are its own from then on, and nobody else's.
    """
    fields = _fields(written)
    entry = {
        "manager": manager,
        "operation": "Update",
        "apiVersion": kind.api_version,
        "time": datetime.fromtimestamp(int(wall), UTC).isoformat().replace("+00:00", "Z"),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    metadata = document["metadata"]
    others = [
        {**each, "fieldsV1": _without(each["fieldsV1"], fields)}
        for each in metadata.get("managedFields") or ()
        if each["manager"] != manager
    ]
    return {**document, "metadata": {**metadata, "managedFields": [*others, entry]}}


def _without(fields: JsonObject, taken: Mapping[str, Any]) -> JsonObject:
    """Return `fields` without those that are in `taken` down to their end."""
    rest = {key: value if not taken.get(key) else _without(value, taken[key]) for key, value in fields.items()}
    return {key: value for key, value in rest.items() if key not in taken or value}


def _fields(written: Mapping[str, Any]) -> JsonObject:
    """Return the set of fields as the API writes it: a key `f:…` for each, with what is within it."""
    return {
        f"f:{key}": _fields(value) if isinstance(value, Mapping) else {}
        for key, value in written.items()
        if key not in {"uid", "resourceVersion", "apiVersion", "kind"}
    }
