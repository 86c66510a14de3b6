"""What requests meant that came lately, by their bytes, so that they need not be parsed to be understood."""

from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from scaler.answers.registry import Registry
from scaler.answers.scaledobject import ScaledObject
from scaler.core.errors import MetadataError
from scaler.pb import externalscaler_pb2 as pb

Kind = TypeVar("Kind", bound=Message)
Meaning = TypeVar("Meaning")
CACHE_BYTES = 4 << 20
REQUEST_BYTES = 150
"""What one request takes in the cache besides its own bytes."""


class Meanings(Generic[Meaning]):
    """What each request meant; what goes beyond the limit clears all.

    Go writes a map in another order each time, but a map of up to 8 keys in 8 orders only, and one of 200 keys in 256
    (internal/runtime/maps, Iter: a random offset into the table), so that a thousand ScaledObjects fit.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        """Keep about `max_bytes`."""
        self._meanings: dict[bytes, Meaning] = {}
        self._max_bytes = self._left = max_bytes
        self.get = self._meanings.get

    def keep(self, raw: bytes, meaning: Meaning) -> None:
        """Note what `raw` means."""
        if len(raw) + REQUEST_BYTES > self._left:
            self.clear()
        self._left -= len(raw) + REQUEST_BYTES
        self._meanings[raw] = meaning

    def clear(self) -> None:
        """Forget all."""
        self._meanings.clear()
        self._left = self._max_bytes


class RequestCache:
    """Finds ScaledObjects by the bytes of requests."""

    def __init__(self, registry: Registry) -> None:
        """Look in `registry` for what is not cached, and forget when it forgets."""
        self._registry = registry
        self._refs = Meanings[ScaledObject]()
        self._metrics = Meanings[tuple[ScaledObject, int]]()
        registry.on_forget.append(lambda _scaled_object: self._clear())

    def find(self, raw: bytes) -> ScaledObject:
        """Return whom the bytes of a ScaledObjectRef name, noting that it asks; raises as `Registry.find_ref` does."""
        if (found := self._refs.get(raw)) is not None:
            return self._registry.note(found)
        found = self._registry.find_ref(parsed(pb.ScaledObjectRef, raw))
        self._refs.keep(raw, found)
        return found

    def find_metric(self, raw: bytes) -> tuple[ScaledObject, int]:
        """Return whom the bytes of a GetMetricsRequest name, and which of its metrics; raises also `UnknownMetricError`."""
        if (meaning := self._metrics.get(raw)) is not None:
            self._registry.note(meaning[0])
            return meaning
        request = parsed(pb.GetMetricsRequest, raw)
        found = self._registry.find_ref(request.scaledObjectRef)
        meaning = found, found.metric_index(request.metricName)
        self._metrics.keep(raw, meaning)
        return meaning

    def _clear(self) -> None:
        self._refs.clear()
        self._metrics.clear()


def parsed(kind: type[Kind], raw: bytes) -> Kind:
    """Return the message; raises `MetadataError` if `raw` is none."""
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise MetadataError(f"the request is not a {kind.DESCRIPTOR.name}; is the client KEDA's?") from None
