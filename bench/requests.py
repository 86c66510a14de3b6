"""What KEDA sends: requests whose metadata comes in another order each time, as Go's maps do, and a fleet of triggers."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.wire import header_block
from scaler.pb import externalscaler_pb2 as pb

SPEC, METRICS, ACTIVE = map(header_block, ("GetMetricSpec", "GetMetrics", "IsActive"))
STREAM = header_block("StreamIsActive")
ORDERS = 8
"""Encodings prepared for each trigger. Go starts a small map at one of 8 slots (runtime/map.go, mapiterinit)."""


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


def requests_of(namespace: str, name: str, metadata: Mapping[str, str], metric: str, orders: int = ORDERS) -> Requests:
    """Encode the calls of a trigger whose metric is `metric`."""
    head = pb.ScaledObjectRef(namespace=namespace, name=name).SerializeToString()
    entries = [pb.ScaledObjectRef(scalerMetadata={key: value}).SerializeToString() for key, value in metadata.items()]
    refs = []
    for _ in range(orders):
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


def fleet(size: int, places: int, doubles: Doubles, orders: int = 2) -> Sequence[Trigger]:
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
            }  # fmt: skip
            metric = f"sidekiq-busy-queue-{place}"
        else:
            metadata = {"source": "workqueue", "metricsURL": f"{doubles.pages}/{place}", "queues": "application"}
            metric = "workqueue-application"
        requests = requests_of(namespace, name, {**metadata, **common}, metric, orders)
        triggers.append(Trigger(metadata["source"], f"{metadata['source']}-{place}", requests))
    return triggers
