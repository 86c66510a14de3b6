"""A connection as aiohttp reads it, which one server can neither flood nor keep busy with drops.

aiohttp keeps every answer that comes, asked for or not, and drops what is around a body (headers after it, extensions of
chunks) without an end and without telling whoever waits for the body. One endpoint that went on with empty answers after
its own took 2 GB; 80 connections with nothing but chunks of one byte kept a core busy.
"""

from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

SLICE_BYTES = 4 * 1024
"""Taken apart before it is looked at again what came of it: 700 chunks of one byte, in some milliseconds."""
MAX_HEAD_BYTES = 64 * 1024
MAX_AROUND_BYTES = 8 * 1024
"""Around the chunks of an answer, or after its body, unless the body is longer."""
MAX_HEADS = 16
"""Answers that nobody has taken yet, such as `100 Continue` before the one that was asked for."""
QUICK_READS = 32
"""So many reads of one answer may bring little: each costs about as much as a whole answer."""
SMALL_BYTES = 1024
LONGEST_REST_SECONDS = 0.25


class FloodError(aiohttp.ClientPayloadError):
    """An answer has more around its body than in it, or there are answers that nobody asked for."""


class Wire(ResponseHandler):
    """Counts what comes of each answer, ends a flood, and rests between reads that bring little."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._came = self._head = self._reads = 0
        self._before: object = None

    def set_response_params(self, **params: Any) -> None:
        """Count anew: another request is made."""
        self._came = self._head = self._reads = 0
        self._before = self._payload
        super().set_response_params(**params)

    def is_connected(self) -> bool:
        """Tell whether a request may be sent: an answer that is here already would be taken for the one to it."""
        return super().is_connected() and not self.should_close

    def data_received(self, data: bytes) -> None:
        """Take `data` as far as it may be more."""
        if len(data) <= SLICE_BYTES:
            self._take(data)
        else:
            for start in range(0, len(data), SLICE_BYTES):
                if self.transport is None or self.transport.is_closing():
                    return
                self._take(data[start : start + SLICE_BYTES])
        self._reads += bool(data)
        if self._reads > QUICK_READS and self._came < SMALL_BYTES * self._reads and self.transport is not None:
            self.transport.pause_reading()
            rest = min(LONGEST_REST_SECONDS, 0.001 * (self._reads - QUICK_READS))
            self._loop.call_later(rest, self._read_on)

    def _take(self, data: bytes) -> None:
        self._came += len(data)
        super().data_received(data)
        if not self._is_flood():
            return
        self._buffer.clear()
        flood = FloodError()
        if self._payload is not None:
            self._payload.set_exception(flood)
        self.set_exception(flood)
        if self.transport is not None:
            self.transport.abort()

    def _is_flood(self) -> bool:
        if len(self._buffer) > MAX_HEADS:
            return True
        if self._payload is None or self._payload is self._before:
            return self._came > MAX_HEAD_BYTES
        self._head = self._head or self._came  # and a little of the body, whatever else came in this slice
        body = self._payload.total_bytes
        return self._came - self._head - body > MAX_AROUND_BYTES + body

    def _read_on(self) -> None:
        if self.transport is not None and not (self._reading_paused or self._buffer_paused):
            self.transport.resume_reading()


def bound(connector: aiohttp.TCPConnector) -> aiohttp.TCPConnector:
    """Let `connector` make such connections."""
    # aiohttp has no other way to name the protocol, and its annotation no room for a subclass
    connector._factory = partial(Wire, loop=connector._loop)  # type: ignore[assignment]  # noqa: SLF001
    return connector
