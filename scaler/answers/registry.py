"""Who asks: each trigger of a ScaledObject parsed once, found by every request of it, and forgotten in the end."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from google.protobuf.message import DecodeError, Message

from scaler.answers.scaledobject import Key, Question, ScaledObject
from scaler.core.clock import Clock
from scaler.core.errors import LimitError, MetadataError
from scaler.core.quota import Quota
from scaler.pb import externalscaler_pb2 as pb
from scaler.sources.access import Access
from scaler.sources.base import Trigger
from scaler.sources.triggers import parse

Kind = TypeVar("Kind", bound=Message)
Meaning = TypeVar("Meaning")
SPELLINGS_BYTES = 4 << 20
SPELLING_BYTES = 150
"""What one spelling takes besides its own bytes."""


class Spellings(Generic[Meaning]):
    """What requests meant that came lately, by their bytes, so that they need not be parsed to be understood.

    Go writes a map in another order each time, but a map of up to 8 keys in 8 orders only, and one of 200 keys in 256
    (internal/runtime/maps, Iter: a random offset into the table), so that a thousand ScaledObjects fit.
    """

    def __init__(self, max_bytes: int = SPELLINGS_BYTES) -> None:
        """Keep about `max_bytes`; what goes beyond clears all."""
        self._meanings: dict[bytes, Meaning] = {}
        self._max_bytes = self._left = max_bytes
        self.get = self._meanings.get

    def keep(self, raw: bytes, meaning: Meaning) -> None:
        """Note what `raw` means."""
        if len(raw) + SPELLING_BYTES > self._left:
            self.clear()
        self._left -= len(raw) + SPELLING_BYTES
        self._meanings[raw] = meaning

    def clear(self) -> None:
        """Forget all."""
        self._meanings.clear()
        self._left = self._max_bytes


class Askers:
    """Finds and forgets ScaledObjects within the limits of the configuration."""

    def __init__(  # noqa: PLR0913 - limits
        self,
        access: Access,
        clock: Clock,
        *,
        max_scaled_objects: Quota,
        max_metadata_bytes: int,
        max_metadata_total_bytes: int,
        keep_seconds: float,
        grown: Callable[[], None],
    ) -> None:
        """Let in what `access` allows, calling `grown` for each, and forget who has not asked for `keep_seconds`."""
        self._access, self._clock, self._keep_seconds, self._grown = access, clock, keep_seconds, grown
        self._quota, self._max_metadata_bytes = max_scaled_objects, max_metadata_bytes
        self._bytes = Quota(max_metadata_total_bytes, "limits.maxMetadataTotalBytes")
        self._known: OrderedDict[Key, ScaledObject] = OrderedDict()
        self._questions: WeakValueDictionary[Trigger, Question] = WeakValueDictionary()
        self._refs = Spellings[ScaledObject]()
        self._metrics = Spellings[tuple[ScaledObject, int]]()

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._known)

    def __iter__(self) -> Iterator[ScaledObject]:
        """Return those that are remembered, the one that asked last at the end."""
        return iter(list(self._known.values()))

    def find(self, namespace: str, name: str, metadata: Mapping[str, str]) -> ScaledObject:
        """Return the ScaledObject that asks, as `find_ref` does."""
        return self.find_ref(pb.ScaledObjectRef(namespace=namespace, name=name, scalerMetadata=metadata))

    def find_ref(self, ref: pb.ScaledObjectRef) -> ScaledObject:
        """Return the ScaledObject that asks, noting that it did.

        Raises `MetadataError`, `NotAllowedError` or `LimitError`.
        """
        key = ref.SerializeToString(deterministic=True)  # a set of the metadata costs six times as much
        found = self._known.get(key)
        if found is None:
            ref.DiscardUnknownFields()  # nobody may make one ScaledObject look like many
            key = ref.SerializeToString(deterministic=True)
            found = self._known.get(key) or self._admit(key, ref)
        return self._noted(found)

    def find_raw(self, raw: bytes) -> ScaledObject:
        """Return whom the bytes of a ScaledObjectRef name, as `find_ref` does."""
        if (found := self._refs.get(raw)) is not None:
            return self._noted(found)
        found = self.find_ref(parsed(pb.ScaledObjectRef, raw))
        self._refs.keep(raw, found)
        return found

    def find_metric(self, raw: bytes) -> tuple[ScaledObject, int]:
        """Return whom the bytes of a GetMetricsRequest name, and which of its metrics; raises also `UnknownMetricError`."""
        if (meaning := self._metrics.get(raw)) is not None:
            self._noted(meaning[0])
            return meaning
        request = parsed(pb.GetMetricsRequest, raw)
        found = self.find_ref(request.scaledObjectRef)
        meaning = found, found.metric_index(request.metricName)
        self._metrics.keep(raw, meaning)
        return meaning

    def _noted(self, found: ScaledObject) -> ScaledObject:
        found.asked_at = self._clock.now()
        found.calls += 1
        self._known.move_to_end(found.key)
        return found

    def _admit(self, key: Key, ref: pb.ScaledObjectRef) -> ScaledObject:
        namespace, name, metadata = ref.namespace, ref.name, ref.scalerMetadata
        size = sum(len(text.encode()) for text in (namespace, name, *metadata.keys(), *metadata.values()))
        if size > self._max_metadata_bytes:
            raise LimitError(
                f"name and metadata have {size} bytes; at most {self._max_metadata_bytes} are read "
                "(setting limits.maxMetadataBytes)"
            )
        trigger = parse(metadata, namespace)
        self._access.check(namespace, trigger.claims())
        self.forget_old()
        self._quota.take(namespace)
        try:
            self._bytes.take(namespace, len(key))
        except LimitError:
            self._quota.give_back(namespace)
            raise
        admitted = self._known[key] = ScaledObject(key, namespace, name, self._question(trigger), self._clock.now())
        self._grown()
        return admitted

    def _question(self, trigger: Trigger) -> Question:
        if (question := self._questions.get(trigger)) is None:
            question = self._questions[trigger] = Question(trigger)
        return question

    def forget_old(self) -> None:
        """Forget who has not asked for a long time and listens to nothing."""
        now = self._clock.now()
        while self._known:
            key, found = next(iter(self._known.items()))
            if found.asked_at >= now - self._keep_seconds:
                break  # they are in the order of asking
            if found.listeners:
                self._known.move_to_end(key)
                found.asked_at = now  # a stream asks all the time
            else:
                del self._known[key]
                self._refs.clear()
                self._metrics.clear()
                self._quota.give_back(found.namespace)
                self._bytes.give_back(found.namespace, len(key))


def parsed(kind: type[Kind], raw: bytes) -> Kind:
    """Return the message; raises `MetadataError` if `raw` is none."""
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise MetadataError(f"the request is not a {kind.DESCRIPTOR.name}; is the client KEDA's?") from None
