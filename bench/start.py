"""Part: how soon `scaler serve` listens, what its process holds with one trigger of SQS, and what that is made of."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc.aio
import psutil

from bench.doubles import backends
from bench.processes import IMAGE_ENV, SERVER_CORES, START_SECONDS
from bench.report import Found
from bench.spread import Row, spread, spreads
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub

TRIGGER = {"source": "sqs", "queueURL": "orders", "awsRegion": "eu-west-1"}
WHOLE = "the scaler, with one trigger of SQS"


@dataclass(frozen=True)
class Effort:
    """How many processes are started, and how long each is idle before its memory counts."""

    runs: int = 7
    quiet_seconds: float = 3.0


async def _run(arguments: tuple[str, ...], env: Mapping[str, str]) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """Run Python as the image does, and return the process and its first line, which is JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **IMAGE_ENV, **env},
    )  # fmt: skip
    os.sched_setaffinity(process.pid, SERVER_CORES)
    assert process.stdout is not None  # noqa: S101 - it was asked for
    line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
    told: dict[str, Any] = json.loads(line)
    return process, told


async def _served(env: Mapping[str, str], quiet_seconds: float) -> Row:
    """Start `scaler serve`, ask it about one trigger, and return when it listened and what it holds."""
    began = time.monotonic()
    listen = ("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-format", "json")
    process, told = await _run(("-m", "scaler", "serve", *listen), env)
    listening = time.monotonic() - began
    server = psutil.Process(process.pid)
    times = server.cpu_times()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{told['grpc']}") as channel:
            ref = pb.ScaledObjectRef(namespace="shop", name="orders", scalerMetadata=TRIGGER)
            if not (await ExternalScalerStub(channel).IsActive(ref, timeout=START_SECONDS)).result:
                raise RuntimeError("work waits in the queue")
            await asyncio.sleep(quiet_seconds)
            held = server.memory_info().rss
    finally:
        process.terminate()
        await process.communicate()
    return {"listening after s": listening, "CPU s until then": times.user + times.system, "RSS MB": held / 1e6}


async def _layers() -> dict[str, float]:
    """Return what a process holds in MB with one layer of libraries after the other."""
    process, told = await _run(("-m", "bench.layers"), {})
    await process.communicate()
    return told


async def measure(effort: Effort) -> Found:
    """Return one row for the process, and one for each layer that it is made of."""
    async with backends() as doubles:
        rounds = [await _served(doubles.env, effort.quiet_seconds) for _ in range(effort.runs)]
    layers = [await _layers() for _ in range(effort.runs)]
    row = {"runs": effort.runs, **spreads(rounds, *rounds[0])}
    held = {layer: spread(each[layer] for each in layers) for layer in layers[0]} | {WHOLE: row["RSS MB"]}
    before = [0.0, *(each["median"] for each in held.values())]
    rows = [
        {"with": layer, "runs": effort.runs, "RSS MB": each, "more MB": each["median"] - below}
        for (layer, each), below in zip(held.items(), before, strict=False)
    ]
    return Found({"start": [row], "start layers": rows}, {"start": rounds})
