"""`python -m bench`: measures everything, and writes one report."""

import argparse
import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bench import accelerated, costs, fleet, memory, replicas, report, rpc, streams, wake
from bench.processes import CLIENT_CORES
from scaler.settings import CostSettings

Rows = list[dict[str, Any]]
Part = Callable[[bool], Coroutine[Any, Any, dict[str, Rows]]]


async def _rpc(quick: bool) -> dict[str, Rows]:  # noqa: FBT001 - one shape for all parts
    effort = rpc.Effort(rounds=5, calls=1_000, paced_seconds=1.0) if quick else rpc.Effort()
    return {"rpc": await rpc.measure(effort)}


async def _fleet(quick: bool) -> dict[str, Rows]:  # noqa: FBT001 - see above
    sizes, seconds = ((100, 1_000), 5.0) if quick else ((100, 1_000, 10_000), 20.0)
    storms, steady = await fleet.measure(sizes, seconds)
    return {"storm": storms, "fleet": steady, "sizing": costs.sizing(steady, CostSettings())}


async def _upstream(quick: bool) -> dict[str, Rows]:  # noqa: FBT001 - see above
    size = 1_000 if quick else 10_000
    return {
        "upstream": [await accelerated.upstream(size, size // 20)],
        "half hour": [await accelerated.half_hour(size)],
    }


async def _wake(quick: bool) -> dict[str, Rows]:  # noqa: FBT001 - see above
    return {"wake": await wake.measure(40 if quick else 200), "idle cost": costs.idle_table(CostSettings())}


async def _streams(quick: bool) -> dict[str, Rows]:  # noqa: FBT001 - see above
    if quick:
        return await streams.measure(400, 100, 4.0, 10, 50)
    return await streams.measure(2_000, 500, 20.0, 100, 200)


async def _memory(quick: bool) -> dict[str, Rows]:  # noqa: FBT001 - see above
    return {"memory": await memory.measure(1_000 if quick else 5_000)}


async def _replicas(quick: bool) -> dict[str, Rows]:  # noqa: FBT001 - see above
    return {"replicas": await replicas.measure(6.0 if quick else 30.0)}


PARTS: dict[str, Part] = {
    "rpc": _rpc,
    "fleet": _fleet,
    "upstream": _upstream,
    "wake": _wake,
    "streams": _streams,
    "memory": _memory,
    "replicas": _replicas,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts asked for, print each, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: shows that it runs, not how fast")
    parser.add_argument("--docs", action="store_true", help="put the tables of the report into docs/")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    os.sched_setaffinity(0, CLIENT_CORES)
    report.write({"machine": [report.machine(quick=options.quick)]})
    for name in options.parts or PARTS:
        tables = asyncio.run(PARTS[name](options.quick))
        report.write(tables)
        for title, rows in tables.items():
            print(f"\n{title}\n{report.table(rows)}", flush=True)  # noqa: T201 - a command
    if options.docs:
        report.into_documents()


if __name__ == "__main__":
    main()
