"""Where `explain` gets its answers: a running server over gRPC, or this process with the readers of the server."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.commands.explain import Ask
from scaler.core.clock import SystemClock
from scaler.core.errors import ScalerError
from scaler.pb import explainer_pb2_grpc
from scaler.pb import externalscaler_pb2 as pb
from scaler.server.app import Server
from scaler.settings import Settings

WAIT_SECONDS = 8.0
"""A person waits longer than KEDA does: a first read may take its whole time."""


class AskError(ScalerError):
    """The server that was named cannot be asked."""

    code = "UNAVAILABLE"


@asynccontextmanager
async def here(settings: Settings) -> AsyncIterator[Ask]:
    """Read the backends from this process, with the configuration and the credentials that it has."""
    server = Server(settings, SystemClock())

    async def ask(namespace: str, name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        return await server.explainer.explain(namespace, name, metadata, WAIT_SECONDS)

    try:
        yield ask
    finally:
        await server.close()


@asynccontextmanager
async def server_at(address: str, ca: Path | None, cert: Path | None, key: Path | None) -> AsyncIterator[Ask]:
    """Ask the server at `address` (HOST:PORT of its gRPC), with TLS if a CA or a client certificate is given."""
    if ca is not None or cert is not None:
        credentials = grpc.ssl_channel_credentials(*(path.read_bytes() if path else None for path in (ca, key, cert)))
        channel = grpc.aio.secure_channel(address, credentials)
    else:
        channel = grpc.aio.insecure_channel(address)

    async def ask(namespace: str, name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        ref = pb.ScaledObjectRef(name=name, namespace=namespace, scalerMetadata=dict(metadata))
        try:
            answer = await explainer_pb2_grpc.ExplainerStub(channel).Explain(ref, timeout=WAIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise AskError(
                f"{address}: {error.code().name}: {error.details()}; give the gRPC address of the scaler, port 9090 by default"
            ) from None
        explanation: dict[str, Any] = json.loads(answer.json)
        return explanation

    async with channel:
        yield ask


def whole(item: Mapping[str, Any]) -> str:
    """Keep all of an object: it is a ScaledObject that a person asked for."""
    return json.dumps({"apiVersion": "keda.sh/v1alpha1", **item})


async def from_cluster(kubernetes: Kubernetes, namespace: str, name: str | None) -> str:
    """Return the ScaledObjects and ScaledJobs of `namespace`, or the one called `name`, as a YAML text.

    Raises `Fault` if the cluster cannot be read, `AskError` if there is none of that name.
    """
    found = []
    for kind in ("ScaledObject", "ScaledJob"):
        place = Objects(Resource("keda.sh", ("v1alpha1",), f"{kind.lower()}s"), namespace, "", whole)
        listed = await kubernetes.objects(place)
        found += [{**json.loads(text), "kind": kind} for text in listed.objects]
        kubernetes.forget(place)
    chosen = [item for item in found if name in {None, item["metadata"]["name"]}]
    if not chosen:
        raise AskError(f"namespace {namespace} has no ScaledObject or ScaledJob {name or 'at all'}")
    return "\n---\n".join(json.dumps(item) for item in chosen)
