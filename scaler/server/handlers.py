"""Connects the service to grpc: measures each call, and turns errors into status codes."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor

from scaler.core.clock import Clock, sleep
from scaler.core.errors import MetadataError, ScalerError
from scaler.core.logs import Once, get_logger
from scaler.observe.explainer import Explainer
from scaler.observe.metrics import Metrics
from scaler.pb import explainer_pb2
from scaler.pb import externalscaler_pb2 as pb
from scaler.server.request_cache import parsed
from scaler.server.service import Send, Service

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["ExternalScaler"].full_name
EXPLAINER_NAME = explainer_pb2.DESCRIPTOR.services_by_name["Explainer"].full_name
log = get_logger()

MAX_MESSAGE_BYTES = 2_000
"""Limit of an error message. It is sent percent-encoded in a header, and clients refuse headers of 8 KiB and more."""

Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[bytes], Awaitable[Any]]
Streaming = Callable[[bytes, Send], Awaitable[None]]


class Calls:
    """Makes grpc handlers of the service's methods."""

    def __init__(self, metrics: Metrics, once: Once) -> None:
        """Count in `metrics`; log the same error of the same caller only as often as `once` allows."""
        self._metrics, self._once = metrics, once
        self._arrived = 0
        self._held: asyncio.Event | None = None

    def hold(self) -> asyncio.Event:
        """Keep back the answers of unary calls until the event is set: a caller that waits sends no further call."""
        self._held = asyncio.Event()
        return self._held

    async def quiet(self, clock: Clock, seconds: float) -> None:
        """Return when no unary call has come for `seconds`."""
        before = -1
        while before != self._arrived:
            before = self._arrived
            await sleep(clock, seconds)

    def handlers(self, service: Service) -> grpc.GenericRpcHandler:
        """Return the handlers of KEDA's five RPCs."""
        unary: dict[str, Unary] = {
            "GetMetricSpec": service.get_metric_spec,
            "GetMetrics": service.get_metrics,
            "IsActive": service.is_active,
        }
        streaming: dict[str, Streaming] = {
            "StreamIsActive": service.stream_is_active,
            "StreamMetricSpec": service.stream_metric_spec,
        }
        return self._generic(pb.DESCRIPTOR.services_by_name["ExternalScaler"], unary, streaming)

    def explainer_handlers(self, explainer: Explainer, wait_seconds: float) -> grpc.GenericRpcHandler:
        """Return the handler of Explain, whose answer is JSON."""

        async def explain(raw: bytes) -> explainer_pb2.Explanation:
            request = parsed(pb.ScaledObjectRef, raw)
            view = await explainer.explain(request.namespace, request.name, request.scalerMetadata, wait_seconds)
            return explainer_pb2.Explanation(json=json.dumps(view, allow_nan=False))

        return self._generic(explainer_pb2.DESCRIPTOR.services_by_name["Explainer"], {"Explain": explain}, {})

    def _generic(
        self, service: ServiceDescriptor, unary: dict[str, Unary], streaming: dict[str, Streaming]
    ) -> grpc.GenericRpcHandler:
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for name, method in service.methods_by_name.items():
            write = message_factory.GetMessageClass(method.output_type).SerializeToString
            # Requests are taken as bytes, so that a known request need not be parsed again.
            if name in unary:
                handlers[name] = grpc.unary_unary_rpc_method_handler(self._unary(name, unary[name]), None, write)
            else:
                handler = self._streaming(name, streaming[name])
                handlers[name] = grpc.unary_stream_rpc_method_handler(handler, None, write)
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _unary(self, name: str, call: Unary) -> Callable[[Any, Context], Awaitable[Any]]:
        ended, clock = self._metrics.calls(name), time.perf_counter

        async def handler(request: bytes, context: Context) -> Any:
            self._arrived += 1
            began, code = clock(), "CANCELLED"
            try:
                answer = await call(request)
                code = "OK"
                if self._held is not None:
                    await self._held.wait()
            except Exception as error:  # noqa: BLE001 - the last line: whatever it is becomes a status code
                code = self._code(name, request, error)
                if self._held is not None:
                    await self._held.wait()
                ending = context.abort(grpc.StatusCode[code], status_details(error))
                del context  # grpc keeps what it raises in it: with this frame a cycle, 10 kB at each poll of an outage
                await ending
            else:
                return answer
            finally:
                ended(code, clock() - began)

        return handler

    def _streaming(self, name: str, call: Streaming) -> Callable[[Any, Context], Awaitable[None]]:
        # Not an async generator, which would take 2 kB more for each stream.
        async def handler(request: bytes, context: Context) -> None:
            code = "CANCELLED"
            try:
                await call(request, context.write)
                code = "OK"
            except Exception as error:  # noqa: BLE001 - the last line: whatever it is becomes a status code
                code = self._code(name, request, error)
                ending = context.abort(grpc.StatusCode[code], status_details(error))
                del context  # as above
                await ending
            finally:
                self._metrics.stream_ended(name, code)

        return handler

    def _code(self, name: str, request: bytes, error: Exception) -> str:
        """Return the status code of `error`, and log the error, but not at every poll."""
        ref = named(name, request)
        about = {"rpc": name, "namespace": ref.namespace[:253], "scaledobject": ref.name[:253]}
        code = error.code if isinstance(error, ScalerError) else "INTERNAL"
        if self._once((code, about["namespace"], about["scaledobject"]), about["namespace"]):
            if isinstance(error, ScalerError):
                log.warning("answered with an error", code=code, error=str(error), **about)
            else:
                log.error("internal error", error=type(error).__name__, exc_info=error, **about)
        return code


def named(rpc: str, request: bytes) -> pb.ScaledObjectRef:
    """Return the ScaledObjectRef of `request`, an empty one if it cannot be parsed."""
    with suppress(MetadataError):
        if rpc == "GetMetrics":
            return parsed(pb.GetMetricsRequest, request).scaledObjectRef
        return parsed(pb.ScaledObjectRef, request)
    return pb.ScaledObjectRef()


def status_details(error: Exception) -> str:
    """Return the message for the caller: the text of our own errors, and nothing of an unexpected one."""
    text = str(error) if isinstance(error, ScalerError) else "internal error of the scaler; its log says more"
    return text.encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")
