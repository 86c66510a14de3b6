"""A process of its own between the server's file descriptor 2 and the real standard error.

It takes out what grpc's core tells of handshakes, hands the server those that failed, and passes everything else on
unchanged. In a thread of the server the last words of a process that aborts would be lost in the pipe. It is started as
`python -I -S sieve.py`, with the server's descriptor 2 as standard input, the way back to the server as standard output
and the real one as standard error. It needs the standard library alone, so it costs 4 MB and 20 ms, and it ends with the
server, however that ends.
"""

import contextlib
import os
import re
import signal

CHUNK_BYTES = 65_536

_PREFIX = rb"[IE]\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] "
_FAILED = re.compile(
    _PREFIX
    + rb"(?:CallNextHandshakerLocked: error=(?!OK )"  # the one line that holds both the peer and the reason
    + rb"|No match found for server name: )"  # and the one with the host that a client has asked for
)
_CHATTER = re.compile(  # the rest of what is written because handshakes are traced, and grpc's preface to its first line
    rb"WARNING: All log messages before absl::InitializeLog\(\) |"
    + _PREFIX
    + rb"(?:gRPC Tracers: handshaker$|CallNextHandshakerLocked: |handshake[_ ]manager 0x|Handshake failed with error )"
)


_BEGINS_LIKE_OURS = re.compile(rb"[IE](?:\d|$)|W(?:A|$)")


class Sieve:
    """Parts a stream into lines of two kinds; no I/O."""

    def __init__(self) -> None:
        self._rest = b""  # a line of which more is to come, and that may be one of ours
        self._within = False  # whether the beginning of the line has been passed on, and so is all of it

    def part(self, chunk: bytes) -> tuple[bytes, list[bytes]]:
        """Return what is to be passed on, and the lines of failed handshakes; an empty chunk is the end of the stream."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        passed: list[bytes] = []
        failed: list[bytes] = []
        for line in lines:
            if not self._within and _FAILED.match(line):
                failed.append(line + b"\n")
            elif self._within or not _CHATTER.match(line):
                passed.append(line + b"\n")
            self._within = False
        # Last words may have no end, and they may have no time: what cannot be ours does not wait for more.
        if rest and (self._within or not chunk or len(rest) > CHUNK_BYTES or not _BEGINS_LIKE_OURS.match(rest)):
            passed.append(rest)
            rest, self._within = b"", True
        self._rest = rest
        return b"".join(passed), failed


def _write(descriptor: int, data: bytes) -> None:
    """Write all of `data`, or as much as can be: a reader that is gone or full is no reason to stop the server."""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]


def main() -> None:
    """Sift until the server has ended, and whoever else holds its descriptor 2."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C tells both processes; the server is to speak to its end
        signal.signal(number, signal.SIG_IGN)
    os.set_blocking(1, False)
    _write(1, b"ready\n")
    sieve, chunk = Sieve(), b"\n"
    while chunk:
        chunk = os.read(0, CHUNK_BYTES)
        passed, failed = sieve.part(chunk)
        _write(2, passed)
        for line in failed:  # one at a time: the pipe takes a line whole or not at all
            _write(1, line)


if __name__ == "__main__":
    main()
