"""The five RPCs of KEDA's external scalers, in terms of `answers`; no other logic."""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from scaler.answers.answer import Answers
from scaler.answers.listeners import Listeners
from scaler.answers.scaledobject import Question, ScaledObject
from scaler.answers.streams import LONGEST_REPEAT_SECONDS, Streams, repeat
from scaler.core.domain import Assessment
from scaler.core.errors import Fault, ScalerError
from scaler.pb import externalscaler_pb2 as pb
from scaler.server.request_cache import RequestCache

Send = Callable[[Any], Awaitable[None]]
"""Sends one message of a stream, and returns when the peer can take more."""
MAX_VALUE = 1e12
"""The HPA keeps milli-units in 64 bits, so it would read 0 or garbage from 9.2e15 on."""
ACTIVE = pb.IsActiveResponse(result=True)
INACTIVE = pb.IsActiveResponse(result=False)


class Service:
    """Answers KEDA's requests, taken as bytes; raises `ScalerError`, which `handlers` turns into a status code."""

    def __init__(
        self, requests: RequestCache, answers: Answers, listeners: Listeners, streams: Streams, deadline_seconds: float
    ) -> None:
        self._requests, self._answers, self._listeners, self._streams = requests, answers, listeners, streams
        self._wait_seconds = max(0.1, deadline_seconds - 0.1)

    async def get_metric_spec(self, request: bytes) -> pb.GetMetricSpecResponse:
        """Return the metrics' names and targets, from metadata alone: KEDA's fallback needs them in an outage."""
        return self._specs(self._requests.find(request))

    async def get_metrics(self, request: bytes) -> pb.GetMetricsResponse:
        """Return the value of the metric asked for."""
        scaled_object, index = self._requests.find_metric(request)
        try:
            answer = self._answers.answer_nowait(scaled_object) or await self._answers.answer(
                scaled_object, self._wait_seconds
            )
        except ScalerError as error:
            self._answers.note_poll(scaled_object, error)
            raise
        self._answers.note_poll(scaled_object, answer)
        if not answer.wire:
            answer.wire.extend(metrics_messages(answer.told))
        message: pb.GetMetricsResponse = answer.wire[index]
        return message

    async def is_active(self, request: bytes) -> pb.IsActiveResponse:
        """Return whether the trigger is active; after a GetMetrics its answer or its error."""
        scaled_object = self._requests.find(request)
        answer = self._answers.polled(scaled_object) or self._answers.answer_nowait(scaled_object)
        if answer is None:
            answer = await self._answers.answer(scaled_object, self._wait_seconds)
        return ACTIVE if answer.told.active else INACTIVE

    async def stream_is_active(self, request: bytes, send: Send) -> None:
        """Send `true` at every change to active, and again after growing pauses while active.

        KEDA loses a `true` that arrives just after it scaled to 0, so one is not enough. `false` is never sent: old
        versions of KEDA deactivate on it without asking the other triggers. A stream that new access rules do not allow
        ends instead of sending; KEDA gets the error when it opens the next.
        """
        scaled_object = self._requests.find(request)

        def active() -> bool:
            if scaled_object not in self._requests:
                stream.end()
            return self._listeners.says_active(scaled_object)

        with (
            self._streams.open(scaled_object.namespace) as stream,
            self._listeners.listening(scaled_object, stream.wake),
        ):
            with suppress(Fault):  # nothing is sent then; the store tries again, and wakes the stream
                await self._answers.answer(scaled_object, self._wait_seconds)
            await repeat(stream, active, lambda: send(ACTIVE))

    async def stream_metric_spec(self, request: bytes, send: Send) -> None:
        """Send what `get_metric_spec` returns at once and every minute, because KEDA forgets it after an error.

        The specs follow from the metadata alone, and KEDA opens a new stream when that changes.
        """
        scaled_object = self._requests.find(request)
        with self._streams.open(scaled_object.namespace) as stream:
            while not stream.ended:
                await send(self._specs(scaled_object))
                await stream.wait(stream.jittered(LONGEST_REPEAT_SECONDS))

    def _specs(self, scaled_object: ScaledObject) -> pb.GetMetricSpecResponse:
        question = scaled_object.question
        if not question.wire:
            question.wire.append(specs_message(question))
        message: pb.GetMetricSpecResponse = question.wire[0]
        return message


def specs_message(question: Question) -> pb.GetMetricSpecResponse:
    """Return the specs, each with its target as a float and, for KEDA before 2.17, as a whole number of at least 1.

    Targets are capped as values are: at the cap the HPA asks for one replica, as it would with a higher target.
    """
    targets = [(spec.name, min(spec.target, MAX_VALUE)) for spec in question.specs]
    return pb.GetMetricSpecResponse(
        metricSpecs=[
            pb.MetricSpec(metricName=name, targetSizeFloat=target, targetSize=max(1, math.ceil(target)))
            for name, target in targets
        ]
    )


def metrics_messages(assessment: Assessment) -> list[pb.GetMetricsResponse]:
    """Return one message for each metric."""
    messages = []
    for metric in assessment.metrics:
        value = min(metric.value, MAX_VALUE)
        messages.append(
            pb.GetMetricsResponse(
                metricValues=[
                    pb.MetricValue(metricName=metric.name, metricValueFloat=value, metricValue=math.ceil(value))
                ]
            )
        )
    return messages
