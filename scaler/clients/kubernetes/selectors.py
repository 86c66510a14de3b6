"""Label selectors, parsed as in Kubernetes (apimachinery pkg/labels/selector.go). Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY = rf"(?:(?=[^/]{{1,253}}/)[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?{_NAME}"
LABEL_VALUE = rf"(?:{_NAME})?"
# Blanks are taken for good (`*+`): a value between them may be empty, and each way to share them out would be tried.
_VALUES = rf"\(\s*+{LABEL_VALUE}\s*+(?:,\s*+{LABEL_VALUE}\s*+)*+\)"
_REQUIREMENT = re.compile(
    rf"\s*+(?:!\s*+(?P<absent>{LABEL_KEY})"
    rf"|(?P<key>{LABEL_KEY})(?:\s*+(?P<sign>==|=|!=)\s*+(?P<value>{LABEL_VALUE})"
    rf"|\s++(?P<word>in|notin)\s*+(?P<values>{_VALUES}))?)\s*+(?:,(?!\s*+$)|$)"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition of a selector; `=` and `!=` are `in` and `notin` with one value."""

    key: str
    operator: Literal["in", "notin", "exists", "absent"]
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with `labels` matches; `notin` also matches objects without the label."""
        if self.operator == "in":
            return self.key in labels and labels[self.key] in self.values
        if self.operator == "notin":
            return self.key not in labels or labels[self.key] not in self.values
        return (self.key in labels) == (self.operator == "exists")


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Return the conditions of the selector `text`, all of which must hold; raises `ValueError`.

    Kubernetes has `>` and `<` for nodes only.
    """
    found, at = [], 0
    while at < len(text):
        match = _REQUIREMENT.match(text, at)
        if match is None:
            raise ValueError(f"unable to parse requirement: {text[at:]!r}")
        found.append(_requirement(match))
        at = match.end()
    return tuple(found)


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"] is not None:
        return Requirement(match["absent"], "absent")
    if match["sign"] is not None:
        return Requirement(match["key"], "notin" if match["sign"] == "!=" else "in", frozenset({match["value"]}))
    if match["word"] is not None:
        values = frozenset(value.strip() for value in match["values"][1:-1].split(","))
        return Requirement(match["key"], "in" if match["word"] == "in" else "notin", values)
    return Requirement(match["key"], "exists")
