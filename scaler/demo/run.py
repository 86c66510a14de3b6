"""The command `demo`: sets the stage, plays cycle after cycle, and shows it."""

import asyncio
import signal
from contextlib import AsyncExitStack

from rich.console import Console

from scaler.demo.flux import FluxWorkload
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.sidekiq_workload import SidekiqWorkload, UnsparedSidekiqWorkload
from scaler.demo.sqs import SqsWorkload
from scaler.demo.stage import Stage
from scaler.demo.valkey import free_port
from scaler.demo.view import View
from scaler.settings import load

LONGEST_CYCLE_SECONDS = 120.0
PAUSE_SECONDS = 5.0
"""Silence before the first burst and between two cycles, so that one sees the workloads asleep."""


async def play(*, once: bool, listen: str, http: str) -> bool:
    """Play until interrupted, or one cycle if `once`; tell whether every workload went 0 → N → 0 in each."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = Console()
    async with AsyncExitStack() as stack:
        console.print("Starting the scaler and the doubles of its backends …", highlight=False)
        kubernetes = KubernetesDouble()
        url = await kubernetes.start()
        stack.push_async_callback(kubernetes.stop)
        settings = load(
            None, {"listen": listen, "http": http, "kubernetes": {"url": url}, "drain": {"grace_seconds": 1}}
        )
        workloads = [
            SqsWorkload(),
            SidekiqWorkload(kubernetes),
            UnsparedSidekiqWorkload(kubernetes),
            FluxWorkload(kubernetes, port=free_port()),
        ]
        stage = Stage(workloads, settings)
        stack.push_async_callback(stage.close)
        await stage.open()
        address = f"http://127.0.0.1:{stage.http_port}/"
        with View(console, address) as view:
            stage.on_change = lambda: view.update(stage.rows)
            playing = asyncio.create_task(_cycles(stage, once=once))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((playing, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not playing.done():
                playing.cancel()
                await asyncio.wait((playing,))
                return True
            good = playing.result()
    for row in stage.rows:
        said = "0 → N → 0" if row.cycles else "did not go 0 → N → 0"
        interrupted = row.workload.interrupted
        cut_off = "" if interrupted is None else f", {interrupted} jobs interrupted"
        console.print(f"{row.workload.name}: {said}, at most {row.most} {row.workload.unit}{cut_off}", highlight=False)
    return good


async def _cycles(stage: Stage, *, once: bool) -> bool:
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        if not await stage.cycle(LONGEST_CYCLE_SECONDS) or once:
            return all(row.cycles for row in stage.rows)
