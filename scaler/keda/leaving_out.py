"""Takes what is wrong out of an object, so that the rest of it can still be checked."""

from typing import Any

UNKNOWN = "(refused)"
"""Replaces a refused name or type."""


class UnreadableError(Exception):
    """Nothing can be left out, so the object cannot be read."""


def leave_out(values: dict[str, Any], path: tuple[Any, ...], *, missing: bool) -> None:
    """Remove the wrong value at `path` from `values`, or the parent of a missing one; triggers keep their index.

    Raises `UnreadableError` if nothing can be left out.
    """
    target = path[:-1] if missing else path
    if target[:1] == ("triggers",) and len(target) == 2:
        values["triggers"][target[1]] = {"type": UNKNOWN, "metadata": {}}
        return
    while target and not isinstance(target[-1], str):
        target = target[:-1]
    if not target or target == ("triggers",):
        if path != ("scaleTargetRef",):
            raise UnreadableError
        values["scaleTargetRef"] = {"name": UNKNOWN}
        return
    holder: Any = values
    for step in target[:-1]:
        holder = holder[step] if isinstance(holder, dict | list) else {}
    if isinstance(holder, dict):
        holder.pop(target[-1], None)  # may already be removed because of another error
