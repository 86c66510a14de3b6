"""Part j: what the locked grpcio costs beside the newest one, which pip fetches into a directory of its own.

`pyproject.toml` bounds grpcio while the newest costs more than `goals.NEWEST` times as much.
"""

import asyncio
import os
import statistics
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.doubles import backends
from bench.processes import ServerProcess, serving
from bench.report import Found
from bench.requests import METRICS, metadata_with, requests_of
from bench.rpc import IN_FLIGHT, cpu, saturate
from bench.spread import Row, spread
from bench.wire import Wire

FETCH_SECONDS = 120.0


class NotMeasured(Exception):  # noqa: N818 - it is no error of the bench: there is no network, say
    """What a part cannot measure here, and why."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 9
    calls: int = 3_000


async def fetch(directory: Path) -> None:
    """Put the newest grpcio into `directory`; raises `NotMeasured` where pip cannot get it."""
    pip = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--only-binary", ":all:", "--upgrade", "--target", str(directory), "grpcio",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, told = await asyncio.wait_for(pip.communicate(), FETCH_SECONDS)
    except TimeoutError:
        pip.kill()
        await pip.wait()
        raise NotMeasured(f"pip has not fetched the newest grpcio within {FETCH_SECONDS:g} s") from None
    if pip.returncode:
        lines = told.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise NotMeasured(f"pip cannot fetch the newest grpcio: {lines[-1]}")


async def measure(effort: Effort) -> Found:
    """Return a row for the locked grpcio and one for the newest: microseconds of a call, and the ratio to the locked.

    Rounds of both alternate. Raises `NotMeasured` where the newest cannot be fetched.
    """
    with TemporaryDirectory() as directory:
        await fetch(Path(directory))
        path = os.pathsep.join(filter(None, (directory, os.environ.get("PYTHONPATH"))))
        return await _compare(effort, {"PYTHONPATH": path})


async def _compare(effort: Effort, newest: Mapping[str, str]) -> Found:
    requests = requests_of("shop", "orders", metadata_with(8, _METADATA), "sqs-orders")
    servers: dict[tuple[str, str], ServerProcess] = {}
    wires: dict[tuple[str, str], Wire] = {}
    rounds: list[Row] = []

    def following() -> tuple[bytes, bytes]:
        return METRICS, requests.metric()

    async with backends() as doubles, AsyncExitStack() as stack:
        for which, env in (("locked", {}), ("newest", newest)):
            for kind in ("empty", "real"):
                server = await stack.enter_async_context(serving(kind, env={**doubles.env, **env}))
                servers[which, kind] = server
                wires[which, kind] = await Wire.open(server.port)
                stack.callback(wires[which, kind].close)
                await saturate(wires[which, kind], max(IN_FLIGHT, effort.calls // 4), following)  # warm up
        for number in range(effort.rounds):
            order = list(servers) if number % 2 else list(servers)[::-1]
            found = {key: 1e6 * await cpu(servers[key], wires[key], effort.calls, following) for key in order}
            rounds.append({f"{which} {kind} µs": found[which, kind] for which, kind in sorted(found)})
    rows = [
        {
            "grpcio": servers[which, "real"].grpcio,
            "which": which,
            "runs": len(rounds),
            **{f"{name} µs": statistics.median(each[f"{which} {kind} µs"] for each in rounds) for kind, name in _NAMES},
            **{
                f"{name} ratio": spread([each[f"{which} {kind} µs"] / each[f"locked {kind} µs"] for each in rounds])
                for kind, name in _NAMES
            },
        }
        for which in ("locked", "newest")
    ]
    return Found({"grpcio": rows}, {"grpcio": rounds})


_METADATA = {"source": "sqs", "queueURL": "orders", "awsRegion": "eu-west-1"}
_NAMES = (("empty", "floor"), ("real", "scaler"))
