"""Remembers refused metadata: there is no trigger for it, but its author waits for the workload to scale."""

from collections.abc import Mapping
from dataclasses import dataclass

from scaler.core.clock import Clock
from scaler.core.errors import ScalerError
from scaler.observe.journal.shelves import Shelves
from scaler.observe.journal.texts import short
from scaler.sources import SOURCES

REFUSAL_BYTES = 1_000
"""Approximate memory of one refusal."""
MAX_NAME = 253
"""The longest name in Kubernetes; a longer one is not remembered."""


@dataclass(slots=True)
class Refusal:
    """One error that KEDA was told about metadata; times are monotonic seconds."""

    namespace: str
    name: str
    source: str
    code: str
    message: str
    first: float
    last: float
    count: int = 1
    over: bool = False  # other metadata of this name was admitted since


class Refusals:
    """Remembers each error of each name once, within a limit that no namespace can use up alone."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self._clock = clock
        self._held = Shelves[tuple[str, str], Refusal](limit)

    def __len__(self) -> int:
        return len(self._held)

    def refused(self, namespace: str, name: str, metadata: Mapping[str, str], error: ScalerError) -> None:
        """Note that `metadata` was refused with `error`; of the metadata only the name of the source is kept."""
        now, message = self._clock.now(), short(str(error))
        namespace, name = namespace[:MAX_NAME], name[:MAX_NAME]
        refusal = self._held.get(namespace, (name, message))
        if refusal is None:
            source = metadata.get("source", "")
            refusal = Refusal(namespace, name, source if source in SOURCES else "", error.code, message, now, now, 0)
            self._held.add(namespace, (name, message), refusal)
        refusal.last, refusal.over = now, False
        refusal.count += 1

    def admitted(self, namespace: str, name: str) -> None:
        """Note that metadata of this name was admitted; the next poll notes other triggers that are refused again."""
        for refusal in self._held.of(namespace):
            if refusal.name == name:
                refusal.over = True

    def present(self, within_seconds: float) -> list[Refusal]:
        """Return the refusals of that time that are not over."""
        earliest = self._clock.now() - within_seconds
        return [refusal for refusal in self._held if refusal.last >= earliest and not refusal.over]

    def between(self, namespace: str | None, name: str | None, begin: float, end: float) -> list[Refusal]:
        """Return the refusals between two monotonic times."""
        held = self._held if namespace is None else self._held.of(namespace)
        return [
            refusal
            for refusal in held
            if refusal.last >= begin and refusal.first <= end and name in {None, refusal.name}
        ]

    def forget_before(self, earliest: float) -> None:
        """Forget the refusals before a monotonic time."""
        for refusal in list(self._held):
            if refusal.last < earliest:
                self._held.drop(refusal.namespace, (refusal.name, refusal.message))
