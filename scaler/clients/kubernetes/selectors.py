"""Label selectors, parsed as in Kubernetes (apimachinery pkg/labels/selector.go). Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY = rf"(?:(?=[^/]{{1,253}}/)[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?{_NAME}"
LABEL_VALUE = rf"(?:{_NAME})?"
MAX_SELECTOR = 4_000
"""Characters; each two of them may be a condition, which takes 2 µs."""
_BLANKS = r"\s*+"  # which gives none back: where two of them meet, a pattern would try every way to share a thousand
_VALUES = rf"\({_BLANKS}(?:{_NAME}{_BLANKS})?(?:,{_BLANKS}(?:{_NAME}{_BLANKS})?)*\)"
_REQUIREMENT = re.compile(
    rf"{_BLANKS}(?:!{_BLANKS}(?P<absent>{LABEL_KEY})"
    rf"|(?P<key>{LABEL_KEY})(?:{_BLANKS}(?P<sign>==|=|!=){_BLANKS}(?P<value>{LABEL_VALUE})"
    rf"|\s++(?P<word>in|notin){_BLANKS}(?P<values>{_VALUES}))?){_BLANKS}(?:,(?!\s*$)|$)"
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
    if len(text) > MAX_SELECTOR:
        raise ValueError(f"a selector of more than {MAX_SELECTOR} characters")
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
