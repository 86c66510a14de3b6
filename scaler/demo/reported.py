"""Collects the reports of a reader, for tests."""

from typing import Any

from scaler.core.domain import Found, Place
from scaler.core.errors import Fault


class Reported(dict[Place, Any]):
    """The value or the `Fault` of each place; to be passed as a `Report`.

    `proofs` has the proof of each value, and `changes` the time when its backend changed.
    """

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.proofs: dict[Place, str] = {}
        self.changes: dict[Place, float] = {}

    def __call__(self, place: Place, outcome: Found | Fault) -> None:
        """Take one report; raises `AssertionError` for a second one of a place."""
        if place in self:
            raise AssertionError(f"{place} was reported twice")
        if isinstance(outcome, Found):
            self.proofs[place], self.changes[place] = str(outcome.proof), outcome.changed_at
        self[place] = outcome.value if isinstance(outcome, Found) else outcome
