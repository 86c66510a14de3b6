"""The command `demo`: starts everything, plays cycle after cycle, and shows it."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from rich.console import Console

from scaler.core.version import HOME
from scaler.demo.flux import FluxWorkload
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.sidekiq_workload import SidekiqWorkload, UnsparedSidekiqWorkload
from scaler.demo.sqs import SqsWorkload
from scaler.demo.stage import Stage
from scaler.demo.valkey import free_port
from scaler.demo.view import View, cut_off, woke
from scaler.settings import load

LONGEST_CYCLE_SECONDS = 120.0
PAUSE_SECONDS = 5.0
"""Pause before the first burst and between two cycles, so that the workloads are seen at zero."""
NEXT = f"next: {HOME}#use-it"


async def play(*, once: bool, listen: str, http: str) -> bool:
    """Play until interrupted, or one cycle if `once`; tell whether every workload went 0 → N → 0 in each."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = Console()
    console.print("Starting the scaler and the doubles of its backends …", highlight=False)
    async with staged(listen, http) as stage:
        with (
            tempfile.TemporaryDirectory(prefix="demo-") as folder,
            View(console, f"http://127.0.0.1:{stage.http_port}/", [_explain(stage, Path(folder)), NEXT]) as view,
        ):
            stage.on_change = lambda: view.update(stage.rows)
            playing = asyncio.create_task(cycles(stage, once=once))
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
        interrupted = cut_off(row)
        console.print(
            f"{row.workload.name}: {said}, at most {row.most} {row.workload.unit}"
            f"{f', {interrupted}' if interrupted else ''}{f'; woke in {woke(row)}' if woke(row) else ''}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(NEXT, highlight=False, soft_wrap=True)
    return good


@asynccontextmanager
async def staged(listen: str, http: str) -> AsyncIterator[Stage]:
    """Open the stage with its workloads, and close it after the block."""
    async with AsyncExitStack() as stack:
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
        yield stage


def _explain(stage: Stage, folder: Path) -> str:
    """Write the ScaledObject that needs no environment variable to `folder`; return the command that explains it."""
    workload = next(row.workload for row in stage.rows if not row.workload.env)
    file = folder / f"{workload.name}.yaml"
    file.write_text(workload.manifest(stage.address))
    return f"scaler explain {file} --address {stage.address}"


async def cycles(stage: Stage, *, once: bool) -> bool:
    """Play cycle after cycle, or one if `once`; tell whether each workload went 0 → N → 0."""
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        if not await stage.cycle(LONGEST_CYCLE_SECONDS) or once:
            return all(row.cycles for row in stage.rows)
