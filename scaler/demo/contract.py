"""What every source owes the contract tests: a backend in which all is well, and what may go wrong there."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from scaler.demo.proxy import Proxy
from scaler.sources.backends import Backends

MISSING_KEY, REFUSED_RIGHT = "a missing key", "a refused right"
OWN_TROUBLES = (MISSING_KEY, REFUSED_RIGHT)
"""What no proxy can do: each source says how its backend leaves out a part of an answer, and how it refuses a right."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A backend with work for a trigger, so that neither its value nor its activity is that of an empty one.

    `metadata` is that of the trigger; `backends` is the configuration that it needs. The scaler reaches the backend only
    through `proxies`. `troubles` has a function for each of `OWN_TROUBLES`.
    """

    metadata: Mapping[str, str]
    backends: Backends
    proxies: Sequence[Proxy]
    troubles: Mapping[str, Callable[[], Awaitable[None]]]
