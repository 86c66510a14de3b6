"""What KEDA sends: requests whose metadata comes in another order each time, as Go's maps do, and a fleet of triggers."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.wire import header_block
from scaler.pb import externalscaler_pb2 as pb

SPEC, METRICS, ACTIVE = map(header_block, ("GetMetricSpec", "GetMetrics", "IsActive"))
STREAM = header_block("StreamIsActive")
SLOTS = 8
"""Of a small map in Go."""


def orders_of(keys: int) -> int:
    """Return in how many orders Go goes through a map of `keys`: it starts at any slot (internal/runtime/maps, Iter.Init).

    A map of more than 8 keys has a power of two of slots, of which at most seven eighths are used. A scaler that knows
    a request by its bytes gains more from few orders than from many, so none may be left out.
    """
    slots = SLOTS
    while keys > SLOTS and slots * 7 < keys * 8:
        slots *= 2
    return slots


@dataclass(frozen=True, slots=True)
class Requests:
    """The calls of one trigger, in several orders of its metadata."""

    refs: tuple[bytes, ...]
    metrics: tuple[bytes, ...]

    def ref(self) -> bytes:
        """Return the request of GetMetricSpec, IsActive and the streams."""
        return random.choice(self.refs)  # noqa: S311 - not a secret

    def metric(self) -> bytes:
        """Return the request of GetMetrics."""
        return random.choice(self.metrics)  # noqa: S311 - not a secret


def requests_of(namespace: str, name: str, metadata: Mapping[str, str], metric: str, orders: int = 0) -> Requests:
    """Encode the calls of a trigger whose metric is `metric`, in as many orders as Go has, or in `orders`."""
    head = pb.ScaledObjectRef(namespace=namespace, name=name).SerializeToString()
    entries = [pb.ScaledObjectRef(scalerMetadata={key: value}).SerializeToString() for key, value in metadata.items()]
    refs = []
    for _ in range(orders or orders_of(len(metadata))):
        random.shuffle(entries)
        refs.append(head + b"".join(entries))
    tail = pb.GetMetricsRequest(metricName=metric).SerializeToString()
    return Requests(tuple(refs), tuple(_field_1(ref) + tail for ref in refs))


def _field_1(message: bytes) -> bytes:
    """Return `message` as the field 1 of another: its tag, its length as a varint, and itself."""
    size, length = len(message), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return b"\x0a" + bytes([*length, size]) + message


def metadata_with(keys: int, base: Mapping[str, str]) -> dict[str, str]:
    """Return `base` with keys that KEDA forwards and the scaler ignores, `keys` in all.

    Only six keys are KEDA's own; more are blank, as keys of unset variables were before KEDA left them out.
    """
    found = dict(base)
    keda = ("scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsClientCert", "tlsClientKey")
    for key in keda[: max(0, keys - len(found))]:
        found[key] = f"value of {key} " + "x" * 20
    for number in range(keys - len(found)):
        found[f"unset{number}FromEnv"] = " "
    return found


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger of a fleet: where it is read, and how it is asked for."""

    source: str
    place: str
    requests: Requests


@dataclass(frozen=True, slots=True)
class Doubles:
    """Where the doubles of the backends are."""

    redis: str
    pages: str


def fleet(size: int, places: int, doubles: Doubles, orders: int = 0) -> Sequence[Trigger]:
    """Return `size` triggers on `places` places: of ten triggers (and places) four sqs, four sidekiq, two workqueue."""
    triggers = []
    for number in range(size):
        place = number % places
        kind = place % 10
        namespace, name = f"team-{number % 50}", f"workload-{number}"
        common = {"scalerAddress": "keda-queue-scaler.keda.svc:9090"}
        if kind < 4:
            metadata = {"source": "sqs", "queueURL": f"queue-{place}", "awsRegion": "eu-west-1", "queueLength": "5"}
            metric = f"sqs-queue-{place}"
        elif kind < 8:
            metadata = {
                "source": "sidekiq", "redisURL": doubles.redis, "queues": f"queue-{place}",
                "deployment": f"workload-{place}", "busyRatio": "0.75",
                "settleSeconds": "0",  # this Redis has only just started, and would not be believed at once
            }  # fmt: skip
            metric = f"sidekiq-busy-queue-{place}"
        else:
            metadata = {"source": "workqueue", "metricsURL": f"{doubles.pages}/{place}", "queues": "application"}
            metric = "workqueue-application"
        requests = requests_of(namespace, name, {**metadata, **common}, metric, orders)
        triggers.append(Trigger(metadata["source"], f"{metadata['source']}-{place}", requests))
    return triggers
