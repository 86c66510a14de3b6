"""Objects of the Kubernetes API as places: what is listed and watched, and what is kept of it."""

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
