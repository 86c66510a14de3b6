"""Places in the Kubernetes API: which objects are watched, and what is kept of them."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scaler.core.domain import Place


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
    """All objects of a resource in a namespace (empty: all namespaces) that match a label selector (empty: all).

    `project` takes an object as decoded JSON and returns what is kept of it, or None for nothing. It must be a constant
    of a module, so that equal places share one watch. If it raises, that is a fault of the place.
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
    """The projected objects of a place, in a stable order.

    `version` stands for the content, so that comparing two lists of 13,000 objects is fast. `taken` is the Unix time at
    which the list was valid; it does not count for equality.
    """

    objects: tuple[Any, ...] = field(compare=False)
    version: int
    taken: float = field(compare=False)
