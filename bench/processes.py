"""Server processes on a core of their own, and what they have used."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES, CLIENT_CORES = ({CORES[0]}, set(CORES[1:])) if len(CORES) > 1 else ({CORES[0]}, {CORES[0]})
IMAGE_ENV = {"MALLOC_ARENA_MAX": "1", "PYTHONNODEBUGRANGES": "1"}  # as the Dockerfile sets it
START_SECONDS, STOP_SECONDS = 60.0, 30.0


@dataclass
class ServerProcess:
    """One server process; ask it with `usage`."""

    process: asyncio.subprocess.Process
    port: int
    http: int
    grpcio: str
    """Its version of grpcio."""

    async def usage(self, question: str = "usage") -> dict[str, Any]:
        """Return what `bench.serving` answers to `usage`, `house` or `collect`."""
        assert self.process.stdin is not None  # noqa: S101 - it was asked for
        self.process.stdin.write(f"{question}\n".encode())
        return await _line(self.process)

    def pause(self) -> None:
        """Let it cost nothing until `resume`: a stopped process runs no timers and answers nobody."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on."""
        self.process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), STOP_SECONDS)


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
    if not line:
        raise RuntimeError("a server process has ended; its log is above")
    told: dict[str, Any] = json.loads(line)
    return told


@asynccontextmanager
async def serving(
    kind: str,
    settings: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    *,
    loop: str = "uvloop",
    cores: set[int] | None = None,
) -> AsyncIterator[ServerProcess]:
    """Run `empty` or `real` on the core of the servers."""
    told = {
        "listen": "127.0.0.1:0",
        "http": "127.0.0.1:0",
        "drain": {"wait_seconds": 0.2},
        "log": {"level": "error"},
        **(settings or {}),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.serving", kind, json.dumps(told), loop,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ, **IMAGE_ENV, **(env or {})},
    )  # fmt: skip
    try:
        os.sched_setaffinity(process.pid, cores or SERVER_CORES)
        ports = await _line(process)
        yield ServerProcess(process, ports["port"], ports["http"], ports["grpcio"])
    finally:
        if process.returncode is None:
            process.terminate()
            process.send_signal(signal.SIGCONT)  # one that is paused sees the other signal only then
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
        if process.returncode is None:
            process.kill()
            await process.wait()
