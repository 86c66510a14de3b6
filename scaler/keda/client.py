"""KEDA as a gRPC client: the calls for one external trigger, with KEDA's retries and its handling of answers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import grpc

from scaler.keda.arithmetic import MetricType
from scaler.keda.executor import MetricResult, Missing
from scaler.keda.findings import ManifestError
from scaler.keda.quantity import milli
from scaler.keda.scalable import Scalable
from scaler.pb.externalscaler_pb2 import GetMetricSpecResponse, GetMetricsRequest, ScaledObjectRef
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub

_Answer = TypeVar("_Answer")


class Spec(NamedTuple):
    """A metric in the HPA of KEDA, named `s<trigger>-<metric>`."""

    name: str
    type: MetricType
    target: float


def resolve(metadata: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata that KEDA sends: the value of `KEYFromEnv` is that of the variable, under the same key.

    A variable that is unset or empty drops the key (KEDA external_scaler.go, parseExternalScalerMetadata). `env` is
    the environment of the scale target's container.
    """
    resolved = {key: env.get(value, "") if key.endswith("FromEnv") else value for key, value in metadata.items()}
    return {key: value for key, value in resolved.items() if value or not key.endswith("FromEnv")}


class ScalersCache:
    """KEDA's scalers of one ScaledObject: an error of one closes them all, and the next call makes new ones.

    A call that fails because they are closed during it is not retried, and KEDA does not count it as an error. Source:
    KEDA 2.20.2 pkg/scaling/cache/scalers_cache.go, refreshScaler and acquireReader (`ErrCacheClosed`).
    """

    __slots__ = ("closed",)

    def __init__(self) -> None:
        self.closed = False


class ExternalScaler:
    """One trigger of type `external` or `external-push`. Like KEDA it sets no deadlines.

    Source: KEDA pkg/scalers/external_scaler.go and pkg/scaling/cache/scalers_cache.go, which retries once, immediately.
    """

    def __init__(
        self,
        stub: Any,
        owner: Scalable,
        index: int,
        env: Mapping[str, str],
        on_error: Callable[[str], None],
    ) -> None:
        """Make the calls for trigger `index` of `owner`; `on_error` is called with the text of every failed call."""
        trigger = owner.triggers[index]
        self.index = index
        self.pushes = trigger.type == "external-push"
        self._type, self._cached = trigger.target_type, trigger.use_cached_metrics
        self._stub, self._on_error = stub, on_error
        self._ref = ScaledObjectRef(
            name=owner.name,
            namespace=owner.namespace,
            scalerMetadata=resolve(trigger.metadata, env),
        )

    async def specs(self, cache: ScalersCache, tries: int = 2) -> tuple[Spec, ...] | Missing:
        """Call GetMetricSpec; returns `NO_SPECS` if it failed or was empty, which KEDA treats alike."""
        for _ in range(tries):
            if cache.closed:
                return Missing.CACHE_CLOSED
            response = await self._call("GetMetricSpec", self._stub.GetMetricSpec(self._ref))
            if response is not None and response.metricSpecs:
                return self._read_specs(response)
        return Missing.NO_SPECS

    async def result(self, spec: Spec, cache: ScalersCache) -> MetricResult:
        """Call GetMetrics and then IsActive; after an error of either there is neither a value nor an activity."""
        request = GetMetricsRequest(scaledObjectRef=self._ref, metricName=spec.name.removeprefix(f"s{self.index}-"))
        for _ in range(2):
            if cache.closed:
                return self._result(spec, Missing.CACHE_CLOSED)
            metrics = await self._call("GetMetrics", self._stub.GetMetrics(request))
            if metrics is None:
                continue
            activity = await self._call("IsActive", self._stub.IsActive(self._ref))
            if activity is None:
                continue
            values = [
                milli(value.metricValueFloat if value.metricValueFloat > 0 else value.metricValue)
                for value in metrics.metricValues
            ]
            total = sum(values) / 1000 if values else Missing.NO_VALUES  # the HPA adds up the values
            return self._result(spec, total, active=activity.result)
        return self._result(spec, Missing.FAILED)

    def without_specs(self, why: Missing) -> MetricResult:
        """Return the result of a poll for a trigger whose specs could not be read."""
        return MetricResult("", self._type, 0, why)

    async def activity(self) -> AsyncIterator[bool]:
        """Open StreamIsActive and yield its messages; raises `grpc.aio.AioRpcError` if it ends with an error."""
        async for response in self._stream(self._stub.StreamIsActive(self._ref)):
            yield response.result

    async def streamed_specs(self) -> AsyncIterator[tuple[Spec, ...]]:
        """Open StreamMetricSpec and yield its lists, also empty ones; raises like `activity`."""
        async for response in self._stream(self._stub.StreamMetricSpec(self._ref)):
            yield self._read_specs(response)

    async def _call(self, rpc: str, call: Awaitable[_Answer]) -> _Answer | None:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            self._on_error(f"{rpc}: {error.code().name}: {error.details()}")
            return None

    async def _stream(self, call: Any) -> AsyncIterator[Any]:
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()

    def _read_specs(self, response: GetMetricSpecResponse) -> tuple[Spec, ...]:
        """Use the float target if it is above 0, as KEDA does (external_scaler.go, buildMetricSpecs)."""
        return tuple(
            Spec(
                f"s{self.index}-{spec.metricName}",
                self._type,
                spec.targetSizeFloat if spec.targetSizeFloat > 0 else float(spec.targetSize),
            )
            for spec in response.metricSpecs
        )

    def _result(self, spec: Spec, value: float | Missing, *, active: bool = False) -> MetricResult:
        return MetricResult(spec.name, spec.type, spec.target, value, active, self._cached)


def external_scalers(
    channel: grpc.aio.Channel, owner: Scalable, env: Mapping[str, str], on_error: Callable[[str], None]
) -> list[ExternalScaler]:
    """Return a client for each external trigger of `owner`; raises `ManifestError` if it has none."""
    stub = ExternalScalerStub(channel)
    scalers = [
        ExternalScaler(stub, owner, index, env, on_error)
        for index, trigger in enumerate(owner.triggers)
        if trigger.type in {"external", "external-push"}
    ]
    if not scalers:
        place = f"{owner.file}:{owner.line}"
        raise ManifestError(f"{place}: {owner.name} has no trigger of type external or external-push")
    return scalers
