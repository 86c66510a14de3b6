"""The two ways of `explain` to get explanations: from a running server over gRPC, or in this process."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.commands.explain import Ask
from scaler.commands.handshake import NO_TLS, Tls, advice
from scaler.core.clock import SystemClock
from scaler.core.errors import ScalerError
from scaler.pb import explainer_pb2_grpc
from scaler.pb import externalscaler_pb2 as pb
from scaler.server.app import Server
from scaler.settings import Settings

WAIT_SECONDS = 8.0
"""Longer than KEDA waits, because a first read may take all of its timeout."""


class AskError(ScalerError):
    """The named server cannot be called."""

    code = "UNAVAILABLE"


@asynccontextmanager
async def here(settings: Settings) -> AsyncIterator[Ask]:
    """Read the backends from this process, with its configuration and credentials."""
    server = Server(settings, SystemClock())

    async def ask(namespace: str, name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        return await server.explainer.explain(namespace, name, metadata, WAIT_SECONDS)

    try:
        yield ask
    finally:
        await server.close()


@asynccontextmanager
async def server_at(address: str, tls: Tls = NO_TLS) -> AsyncIterator[Ask]:
    """Call the server at `address` (HOST:PORT of its gRPC); raises `AskError` that says what to change."""
    if tls.used or tls.server_name is not None:
        name = () if tls.server_name is None else (("grpc.ssl_target_name_override", tls.server_name),)
        channel = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*tls.read()), options=name)
    else:
        channel = grpc.aio.insecure_channel(address)

    async def ask(namespace: str, name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        ref = pb.ScaledObjectRef(name=name, namespace=namespace, scalerMetadata=dict(metadata))
        try:
            answer = await explainer_pb2_grpc.ExplainerStub(channel).Explain(ref, timeout=WAIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise AskError(f"{address}: {await _why(error, address, tls)}") from None
        explanation: dict[str, Any] = json.loads(answer.json)
        return explanation

    async with channel:
        yield ask


async def _why(error: grpc.aio.AioRpcError, address: str, tls: Tls) -> str:
    """Return what went wrong and what to do; found out by a handshake, because grpc's texts are not stable."""
    if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return await asyncio.to_thread(advice, address, tls)
    if error.code() == grpc.StatusCode.UNIMPLEMENTED:
        return "a gRPC server, but not of this scaler, or of a version that cannot explain"
    return f"{error.code().name}: {error.details()}"


def whole(item: Mapping[str, Any]) -> str:
    """Return the whole object as YAML, as a projection for the Kubernetes client."""
    return json.dumps({"apiVersion": "keda.sh/v1alpha1", **item})


async def from_cluster(kubernetes: Kubernetes, namespace: str, name: str | None) -> str:
    """Return the ScaledObjects and ScaledJobs of `namespace`, or the one with `name`, as YAML.

    Raises `Fault` if the cluster cannot be read, `AskError` if there is none with that name.
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
