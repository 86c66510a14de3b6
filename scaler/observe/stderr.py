"""Failed TLS handshakes in the server's own log, for which grpc has no callback: they are read from what its core writes."""

import contextlib
import faulthandler
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scaler.clock import SystemClock
from scaler.observe.handshakes import parse
from scaler.observe.logs import Once, get_logger

log = get_logger()

PIPE_BYTES = 2**20  # what a user without rights may have
END_SECONDS = 5.0


def tell(lines: Iterable[bytes], once: Once) -> None:
    """Log the failed handshakes of `lines`: each peer and reason once in a while."""
    for line in lines:
        failure = parse(line.decode(errors="replace").rstrip("\n"))
        if failure is None or not once((failure.peer, failure.mend)):
            continue
        write = log.info if failure.harmless else log.warning
        write("TLS handshake failed", peer=failure.peer, why=failure.why, mend=failure.mend)


@contextmanager
def handshakes_told(*, tls: bool) -> Iterator[None]:
    """Log failed handshakes in the block if `tls`; to be entered before anything has loaded grpc or set up the log.

    Whoever has set `GRPC_TRACE` or `GRPC_VERBOSITY` looks for something and gets grpc's lines as they are.
    """
    if not tls or os.environ.keys() & {"GRPC_TRACE", "GRPC_VERBOSITY"}:
        yield
        return
    try:
        real = os.dup(2)
        sieve, into = _start()
    except OSError as error:  # the server is worth more than its log
        sys.stderr.write(f"failed TLS handshakes are not logged: no process can be started for it ({error.strerror})\n")
        yield
        return
    # Python's own messages take the straight way. So does where a crash was, in case that its last words get lost: when
    # the first process of a container dies, the kernel ends the sieve with it.
    sys.stderr = open(real, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115 - it is the standard error to the end
    faulthandler.enable(sys.stderr)
    os.dup2(into, 2)
    os.close(into)
    os.environ["GRPC_TRACE"] = "handshaker"
    import grpc  # noqa: F401, PLC0415 - it reads its environment when it is loaded, and only then

    del os.environ["GRPC_TRACE"]  # it is not for the processes that we start
    ending = threading.Event()

    def read() -> None:
        tell(sieve.stdout or (), Once(SystemClock()))
        if not ending.is_set():
            os.dup2(real, 2)
            log.warning("grpc's messages are no longer sifted, because the process that did so has ended")

    reader = threading.Thread(target=read, name="handshakes", daemon=True)
    reader.start()
    try:
        yield
    finally:
        ending.set()
        os.dup2(real, 2)  # the sieve has read everything when nobody can write any more
        with contextlib.suppress(subprocess.TimeoutExpired):
            sieve.wait(END_SECONDS)
        reader.join(END_SECONDS)


def _start() -> tuple["subprocess.Popen[bytes]", int]:
    """Start the sieve; return it and where to write what it is to sift."""
    out, into = os.pipe()
    try:
        program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("sieve.py"))]
        sieve = subprocess.Popen(program, stdin=out, stdout=subprocess.PIPE)  # noqa: S603 - a file of ours
    finally:
        os.close(out)
    if not sieve.stdout or not sieve.stdout.readline():  # before it is ready, last words would be lost
        raise OSError(0, "it has ended at once")
    # A writer never waits: a thread that holds Python's lock would stop the server until the sieve has caught up.
    os.set_blocking(into, False)
    with contextlib.suppress(OSError):  # a smaller one does as well
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return sieve, into
