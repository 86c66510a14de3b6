"""Keeps the ScaledObjects that KEDA asks about: parsed at their first request, forgotten long after their last."""

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from weakref import WeakValueDictionary

from scaler.answers.scaledobject import Key, Question, ScaledObject
from scaler.core.clock import Clock
from scaler.core.errors import LimitError, NotAllowedError, ScalerError
from scaler.core.quota import Quota
from scaler.pb import externalscaler_pb2 as pb
from scaler.sources.access import Access, AccessRule
from scaler.sources.triggers import parse

SILENCE_SECONDS = 100.0
"""KEDA's pollingInterval is 30 s unless it is set; after more than three without a call a ScaledObject was silent."""


class Registry:
    """Finds, admits and forgets ScaledObjects within the limits of the configuration."""

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
        """Admit what `access` allows, calling `grown` for each, and forget what has not asked for `keep_seconds`.

        What KEDA was told is forgotten with it, so a ScaledObject that asks more often than that settles after trouble.
        `on_forget` are called for each that is forgotten, `on_refused` for each request that is not admitted,
        `on_admitted` for each that is, and `on_silence` for each that asks again, with the seconds since its last call.
        """
        self._access, self._clock, self._keep_seconds, self._grown = access, clock, keep_seconds, grown
        self._quota, self._max_metadata_bytes = max_scaled_objects, max_metadata_bytes
        self._bytes = Quota(max_metadata_total_bytes, "limits.maxMetadataTotalBytes")
        self._known: OrderedDict[Key, ScaledObject] = OrderedDict()
        # By namespace and metadata, as in the key: what many ask with the same words is parsed once.
        self._questions: WeakValueDictionary[bytes, Question] = WeakValueDictionary()
        self.on_forget: list[Callable[[ScaledObject], None]] = []
        self.on_refused: Callable[[pb.ScaledObjectRef, ScalerError], None] = lambda _ref, _error: None
        self.on_admitted: Callable[[ScaledObject], None] = lambda _scaled_object: None
        self.on_silence: Callable[[ScaledObject, float], None] = lambda _scaled_object, _seconds: None

    def __len__(self) -> int:
        """Return how many ScaledObjects are known."""
        return len(self._known)

    def __contains__(self, scaled_object: ScaledObject) -> bool:
        """Tell whether `scaled_object` is known, and so allowed."""
        return self._known.get(scaled_object.key) is scaled_object

    def __iter__(self) -> Iterator[ScaledObject]:
        """Return all known ScaledObjects in the order of their last calls."""
        return iter(list(self._known.values()))

    def find(self, namespace: str, name: str, metadata: Mapping[str, str]) -> ScaledObject:
        """Return the ScaledObject of these values, as `find_ref` does."""
        return self.find_ref(pb.ScaledObjectRef(namespace=namespace, name=name, scalerMetadata=metadata))

    def find_ref(self, ref: pb.ScaledObjectRef) -> ScaledObject:
        """Return the ScaledObject that `ref` names, and note that it asks.

        Raises `MetadataError`, `NotAllowedError` or `LimitError` if it is not admitted.
        """
        key = ref.SerializeToString(deterministic=True)  # a frozenset of the metadata would take six times as long
        found = self._known.get(key)
        if found is None:
            ref.DiscardUnknownFields()  # else a client could make one ScaledObject look like many
            key = ref.SerializeToString(deterministic=True)
            found = self._known.get(key) or self._let_in(key, ref)
        return self.note(found)

    def look_up(self, namespace: str, name: str, metadata: Mapping[str, str]) -> ScaledObject:
        """Return a ScaledObject for people instead of KEDA, so its call is not noted; raises as `find_ref` does."""
        ref = pb.ScaledObjectRef(namespace=namespace, name=name, scalerMetadata=metadata)
        key = ref.SerializeToString(deterministic=True)
        return self._known.get(key) or self._admit(key, ref)

    def _let_in(self, key: Key, ref: pb.ScaledObjectRef) -> ScaledObject:
        try:
            return self._admit(key, ref)
        except ScalerError as error:
            self.on_refused(ref, error)
            raise

    def note(self, found: ScaledObject) -> ScaledObject:
        """Note a call of `found`."""
        now = self._clock.now()
        if now - found.asked_at > SILENCE_SECONDS:
            self.on_silence(found, now - found.asked_at)
        found.asked_at = now
        found.calls += 1
        self._known.move_to_end(found.key)
        return found

    def _admit(self, key: Key, ref: pb.ScaledObjectRef) -> ScaledObject:
        namespace, name = sys.intern(ref.namespace), ref.name
        if len(key) > self._max_metadata_bytes:
            self._check_size(ref)
        words = key.removeprefix(pb.ScaledObjectRef(name=name).SerializeToString())
        question = self._questions.get(words) or Question(parse(ref.scalerMetadata, namespace))
        self._access.check(namespace, question.trigger.claims())
        self.forget_old()
        self._quota.take(namespace)
        try:
            self._bytes.take(namespace, len(key))
        except LimitError:
            self._quota.give_back(namespace)
            raise
        self._questions[words] = question
        admitted = self._known[key] = ScaledObject(key, namespace, name, question, self._clock.now())
        self._grown()
        self.on_admitted(admitted)
        return admitted

    def allow(self, rules: Iterable[AccessRule]) -> int:
        """Admit by `rules` from now on, forget what they do not allow, and return how many ScaledObjects that are."""
        self._access.replace_rules(rules)
        refused = 0
        for key, found in list(self._known.items()):
            try:
                self._access.check(found.namespace, found.trigger.claims())
            except NotAllowedError:
                refused += 1
                self._forget(key, found)
        return refused

    def _check_size(self, ref: pb.ScaledObjectRef) -> None:
        """Raise `LimitError` if the texts of `ref` are too long; its key, which has their lengths too, is longer."""
        metadata = ref.scalerMetadata
        size = sum(len(text.encode()) for text in (ref.namespace, ref.name, *metadata.keys(), *metadata.values()))
        if size > self._max_metadata_bytes:
            raise LimitError(
                f"name and metadata have {size} bytes; at most {self._max_metadata_bytes} are read "
                "(setting limits.maxMetadataBytes)"
            )

    def forget_old(self) -> None:
        """Forget the ScaledObjects without an open stream that have not asked for `keep_seconds`."""
        now = self._clock.now()
        while self._known:
            key, found = next(iter(self._known.items()))
            if found.asked_at >= now - self._keep_seconds:
                break  # the others have asked later
            if found.listeners:
                self._known.move_to_end(key)
                found.asked_at = now  # an open stream counts as a call
            else:
                self._forget(key, found)

    def _forget(self, key: Key, found: ScaledObject) -> None:
        del self._known[key]
        self._quota.give_back(found.namespace)
        self._bytes.give_back(found.namespace, len(key))
        for on_forget in self.on_forget:
            on_forget(found)
