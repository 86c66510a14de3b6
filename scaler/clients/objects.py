"""Objects of the Kubernetes API as places: what is listed and watched, and the reader that reports them."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from scaler.domain import Fault, Hint, Place, Reader, Report

if TYPE_CHECKING:  # backends imports the client, which imports this module
    from scaler.clients.backends import Backends


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object: its API group (empty for the core group), acceptable versions, best first, and plural name."""

    group: str
    versions: tuple[str, ...]
    plural: str

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True)
class Objects(Place):
    """All objects of a resource in a namespace (empty: in all) that a label selector (empty: none) picks.

    `project` takes an object as decoded JSON and returns what is kept of it, or None to keep nothing; a function of a
    module, so that equal places share one watch. What it raises is a fault of the place that names the object.
    """

    kind: ClassVar[str] = "kubernetes"

    resource: Resource
    namespace: str
    selector: str
    project: Callable[[Mapping[str, Any]], Hashable | None]

    @property
    def backend(self) -> str:
        """The one API server of the configuration."""
        return "kubernetes"

    def __str__(self) -> str:
        where = f"namespace {self.namespace}" if self.namespace else "all namespaces"
        return f"{self.resource} in {where}" + (f" with {self.selector}" if self.selector else "")


@dataclass(frozen=True, slots=True)
class ObjectList:
    """What is kept of the objects of a place, in a stable order; equal while nothing of that has changed.

    `version` stands for the content, so that two lists of 13,000 objects compare at once. `taken` is the Unix time at
    which the list was true.
    """

    objects: tuple[Any, ...] = field(compare=False)
    version: int
    taken: float = field(compare=False)


class ObjectsReader(Reader):
    """Reports places of kind `kubernetes` from watches that stay open while someone asks for them."""

    kinds = frozenset({Objects.kind})
    told = True

    def __init__(self, backends: "Backends") -> None:
        """Share the watches of `backends.kubernetes`."""
        self._kubernetes = backends.kubernetes
        self._hint: Hint | None = None
        self._places: set[Objects] = set()

    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Report the present objects of each place, or why they are not known."""
        await asyncio.gather(*(self._read(place, report) for place in places if isinstance(place, Objects)))

    async def _read(self, place: Objects, report: Report) -> None:
        self._places.add(place)
        patience = 0.9 * self.timeout_seconds  # to be told how far the list is, before the store gives up on it
        try:
            found = await self._kubernetes.objects(
                place, user=self, changed=lambda: self._changed(place), timeout_seconds=patience
            )
        except Fault as fault:
            report(place, fault)
        else:
            report(place, found)

    def _changed(self, place: Objects) -> None:
        if self._hint is not None:
            self._hint(place)

    def listen(self, hint: Hint) -> None:
        """Call `hint` when a watch has told of a change."""
        self._hint = hint

    def forget(self, place: Place) -> None:
        """Close the watch of `place`, unless someone else uses it."""
        if isinstance(place, Objects):
            self._places.discard(place)
            self._kubernetes.forget(place, user=self)

    async def close(self) -> None:
        """Forget every place; the client is closed by whoever made it."""
        for place in tuple(self._places):
            self.forget(place)
