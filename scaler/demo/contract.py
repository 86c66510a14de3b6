"""The part of every source in the contract tests: a working backend, and ways to break it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from scaler.demo.proxy import Proxy
from scaler.sources.backends import Backends

MISSING_KEY, REFUSED_RIGHT = "a missing key", "a refused right"
OWN_TROUBLES = (MISSING_KEY, REFUSED_RIGHT)
"""Troubles that a proxy cannot make, so each source must: an answer with a missing part, and a refused right."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A backend with work for a trigger, so that its value and activity differ from those of an empty backend.

    `metadata` is that of the trigger, and `backends` the configuration that it needs. The scaler must reach the backend
    only through `proxies`. `troubles` has a function for each of `OWN_TROUBLES`.
    """

    metadata: Mapping[str, str]
    backends: Backends
    proxies: Sequence[Proxy]
    troubles: Mapping[str, Callable[[], Awaitable[None]]]
