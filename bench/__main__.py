"""`python -m bench`: measures everything, and writes one report."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bench import accelerated, attacks, fleet, goals, grpcio, memory, replicas, report, rpc, start, storm, streams, wake
from bench.processes import CLIENT_CORES
from bench.report import Found

Part = Callable[[], Coroutine[Any, Any, Found]]

FULL: dict[str, Part] = {
    "rpc": lambda: rpc.measure(rpc.Effort()),
    "grpcio": lambda: grpcio.measure(grpcio.Effort()),
    "fleet": lambda: fleet.measure(fleet.Effort()),
    "storm": lambda: storm.measure((100, 1_000, 10_000), runs=5),
    "upstream": lambda: accelerated.measure(10_000, 500),
    "wake": lambda: wake.measure(200),
    "streams": lambda: streams.measure(streams.Effort()),
    "memory": lambda: memory.measure(memory.Effort()),
    "start": lambda: start.measure(start.Effort()),
    "replicas": lambda: replicas.measure(30.0),
    "attacks": lambda: attacks.measure(10.0),
}
QUICK: dict[str, Part] = {
    "rpc": lambda: rpc.measure(rpc.Effort(rounds=5, calls=1_000, paced_seconds=1.0)),
    "grpcio": lambda: grpcio.measure(grpcio.Effort(rounds=5, calls=1_000)),
    "fleet": lambda: fleet.measure(fleet.Effort(sizes=(100, 1_000), rounds=2)),
    "storm": lambda: storm.measure((100, 1_000), runs=2),
    "upstream": lambda: accelerated.measure(1_000, 50),
    "wake": lambda: wake.measure(40, shards=10, poll_seconds=10),
    "streams": lambda: streams.measure(
        streams.Effort(
            streams=400, places=100, windows=3, window_seconds=2.0, arrivals=5, clients=10, streams_each=50, ends=2
        )
    ),
    "memory": lambda: memory.measure(
        memory.Effort(scaled_objects=1_000, on_places=50, others=500, runs=2, quiet_seconds=1.0)
    ),
    "start": lambda: start.measure(start.Effort(runs=2, quiet_seconds=1.0)),
    "replicas": lambda: replicas.measure(6.0),
    "attacks": lambda: attacks.measure(3.0, 0.05),
}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command


def _show(found: Found) -> None:
    for title, rows in found.tables.items():
        print(f"\n{title}\n{report.table(rows)}", flush=True)  # noqa: T201 - see above


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts asked for, print each, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(FULL)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: shows that it runs, not how fast")
    parser.add_argument("--docs", action="store_true", help="put the tables of the report into docs/")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - FULL.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    os.sched_setaffinity(0, CLIENT_CORES)
    report.write(Found({"machine": [report.machine(quick=options.quick)]}))
    parts, began = options.parts or list(FULL), time.monotonic()
    for number, name in enumerate(parts, start=1):
        _say(f"[{number}/{len(parts)}] {name} …")
        try:
            found = asyncio.run((QUICK if options.quick else FULL)[name]())
        except grpcio.NotMeasured as reason:  # the last report keeps what it has of it
            _say(f"[{number}/{len(parts)}] {name}: not measured: {reason}")
            continue
        report.write(found)
        _show(found)
        _say(f"[{number}/{len(parts)}] {name}: done, {time.monotonic() - began:.0f} s since the start")
    judged = Found(goals.goals(report.read().tables))
    report.write(judged)
    _show(judged)
    if options.docs:
        report.into_documents()


if __name__ == "__main__":
    main()
