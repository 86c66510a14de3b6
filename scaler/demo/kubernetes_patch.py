"""Writes of the API double: merge patches with the checks of an API server, and `managedFields`."""

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
    """Return `there` after `patch`; raises `Refusal` for another type of patch, or if the patch names another object.

    Plain JSON is treated as a merge patch, for convenience of demo and tests; an API server would refuse it.
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
    """Return `document` with `manager` as the writer of the fields in `written`, at Unix time `wall`.

    The manager becomes the only owner of annotations and labels that it writes.
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
    """Return `fields` without the leaf fields that are in `taken`."""
    rest = {key: value if not taken.get(key) else _without(value, taken[key]) for key, value in fields.items()}
    return {key: value for key, value in rest.items() if key not in taken or value}


def _fields(written: Mapping[str, Any]) -> JsonObject:
    """Return the set of fields in the format of the API: nested keys `f:…`."""
    return {
        f"f:{key}": _fields(value) if isinstance(value, Mapping) else {}
        for key, value in written.items()
        if key not in {"uid", "resourceVersion", "apiVersion", "kind"}
    }
