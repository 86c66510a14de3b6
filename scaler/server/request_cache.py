"""Finds the ScaledObject of a request by the request's bytes, so that a known request need not be parsed again."""

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
"""Memory of one request in the cache, besides its own bytes."""
MAX_ENTRIES = 1_500
"""Bytes that look like the tag of a key of metadata, at most three for each. 190 kB can hold 20,000 keys: 45 ms a call."""
_ENTRY = b"\x1a"


class Meanings(Generic[Meaning]):
    """Maps the bytes of requests to their meaning; when the limit is reached, everything is forgotten.

    Go serializes a map in another order each time, but one of up to 8 keys in only 8 orders, and one of 200 keys in 256
    (internal/runtime/maps, Iter: a random offset into the table). So the requests of a thousand ScaledObjects fit.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        """Keep at most about `max_bytes`."""
        self._meanings: dict[bytes, Meaning] = {}
        self._max_bytes = self._left = max_bytes
        self.get = self._meanings.get

    def keep(self, raw: bytes, meaning: Meaning) -> None:
        """Remember the meaning of `raw`."""
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
        """Ask `registry` for requests that are not cached, and forget everything when it forgets a ScaledObject."""
        self._registry = registry
        self._refs = Meanings[ScaledObject]()
        self._metrics = Meanings[tuple[ScaledObject, int]]()
        registry.on_forget.append(lambda _scaled_object: self._clear())

    def __contains__(self, scaled_object: ScaledObject) -> bool:
        """Tell whether `scaled_object` is still known, and so allowed."""
        return scaled_object in self._registry

    def find(self, raw: bytes) -> ScaledObject:
        """Return the ScaledObject of a ScaledObjectRef's bytes, noting its call; raises as `Registry.find_ref`."""
        if (found := self._refs.get(raw)) is not None:
            return self._registry.note(found)
        found = self._registry.find_ref(parsed(pb.ScaledObjectRef, raw))
        self._refs.keep(raw, found)
        return found

    def find_metric(self, raw: bytes) -> tuple[ScaledObject, int]:
        """Return the same for a GetMetricsRequest, with the index of its metric; raises also `UnknownMetricError`."""
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
    """Return `raw` as a message of `kind`; raises `MetadataError` if it is none, or has too many keys to be parsed at once."""
    if len(raw) > MAX_ENTRIES and raw.count(_ENTRY) > MAX_ENTRIES:
        raise MetadataError("the metadata has too many keys to be read; a source knows fewer than a hundred")
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise MetadataError(f"the request is not a {kind.DESCRIPTOR.name}; is the client KEDA's?") from None
