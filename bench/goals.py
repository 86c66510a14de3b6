"""What must hold, beside what the tables of the report say: one row for each goal of which there is a table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.report import Tables, number
from bench.spread import Row, highest, middle

Rows = Sequence[Mapping[str, Any]]
Judged = tuple[str, str, bool | None]
"""The goal, what was measured, and whether that holds; None where the run was too small to tell."""
FLEET, STREAMS, PLACES, CLIENTS, STREAMS_EACH = 10_000, 2_000, 500, 100, 200
"""The sizes that the goals name."""
NEWEST = 1.1
"""How much more the newest grpcio must cost for `pyproject.toml` to keep an older one."""
CPU, LATE, BLOCK_MS, KB, SAME, EXTRA = 1.15, 2.0, 50.0, 8.0, 0.01, 1.25
ATTACKED_MS, MEMORY_MB = 500.0, 512.0
LISTENING_SECONDS, IDLE_MB = 1.5, 75.0
CORE, MEGABYTES, INTERVALS, GROWTH, END_SECONDS = 15.0, 150.0, 2.0, 0.02, 10.0


def goals(tables: Tables) -> dict[str, list[Row]]:
    """Return the table `goals`, and `push goals` for what streams promise."""
    found = {"goals": _PERFORMANCE, "push goals": _PUSH}
    judged = {
        name: [row for table, judge in judges if table in tables for row in judge(tables[table])]
        for name, judges in found.items()
    }
    return {
        name: [{"goal": goal, "measured": measured, "holds": _WORDS[holds]} for goal, measured, holds in rows]
        for name, rows in judged.items()
        if rows
    }


_WORDS = {True: "yes", False: "no", None: "too small a run to tell"}


def _big_enough(size: float, wanted: float, *, holds: bool) -> bool | None:
    """Return `holds`, unless it holds only because less was measured than the goal names."""
    return holds if size >= wanted or not holds else None


def _rpc(rows: Rows) -> Iterator[Judged]:
    cpu, late = [row["ratio"] for row in rows], [row["p99 ratio"] for row in rows]
    yield f"CPU of one RPC ≤ {CPU} times the empty handler's", _range(cpu), max(cpu) <= CPU
    yield f"p99 of one RPC ≤ {LATE:g} times the empty handler's", _range(late), max(late) <= LATE


def _grpcio(rows: Rows) -> Iterator[Judged]:
    newest = rows[-1]
    yield (
        f"grpcio is kept below the newest only while that costs over {NEWEST:g} times as much",
        f"{newest['grpcio']}: {number(middle(newest['floor ratio']))} times",
        middle(newest["floor ratio"]) > NEWEST,
    )


def _fleet(rows: Rows) -> Iterator[Judged]:
    size, failed = max(row["ScaledObjects"] for row in rows), sum(row["failed"] for row in rows)
    late = [middle(row["p99 ratio"]) for row in rows]
    yield f"p99 in the fleet ≤ {LATE:g} times the empty handler's", _range(late), max(late) <= LATE
    yield (
        f"no call fails and no stream breaks, up to {FLEET:,} ScaledObjects",
        f"{failed:,} at up to {size:,}",
        _big_enough(size, FLEET, holds=failed == 0),
    )
    yield _block("in the fleet", rows)


def _storm(rows: Rows) -> Iterator[Judged]:
    size, failed = max(row["ScaledObjects"] for row in rows), sum(row["failed"] for row in rows)
    yield (
        f"no call fails in the storm of {FLEET:,} ScaledObjects",
        f"{failed:,} at up to {size:,}",
        _big_enough(size, FLEET, holds=failed == 0),
    )
    yield _block("in the storm", rows)


def _block(where: str, rows: Rows) -> Judged:
    size, longest = max(row["ScaledObjects"] for row in rows), max(highest(row["longest block ms"]) for row in rows)
    return (
        f"event loop never blocked longer than {BLOCK_MS:g} ms {where}",
        f"{number(longest)} ms at up to {size:,}",
        _big_enough(size, FLEET, holds=longest <= BLOCK_MS),
    )


def _processes(rows: Rows) -> Iterator[Judged]:
    row = max(rows, key=lambda each: each["ScaledObjects"])
    asked, took = row["the floor asks for"], row["the scaler took"]
    yield (
        f"{FLEET:,} ScaledObjects served by one process, or by {EXTRA} times as many as the empty handler asks for",
        f"{took} at {row['ScaledObjects']:,}; the empty handler asks for {asked}",
        _big_enough(row["ScaledObjects"], FLEET, holds=took <= max(1, EXTRA * asked)),
    )


def _memory(rows: Rows) -> Iterator[Judged]:
    row = next(each for each in rows if each["thing"].startswith("ScaledObject"))
    each = middle(row["kB"])
    yield (
        f"≤ {KB:g} kB per ScaledObject above the base, at {FLEET:,} on {PLACES}",
        f"{number(each)} kB over {row['counted']:,}",
        _big_enough(row["counted"] + PLACES, FLEET, holds=each <= KB),
    )


def _start(rows: Rows) -> Iterator[Judged]:
    (row,) = rows
    seconds, held = middle(row["listening after s"]), middle(row["RSS MB"])
    yield f"listening {LISTENING_SECONDS:g} s after the start", f"{number(seconds)} s", seconds <= LISTENING_SECONDS
    yield f"≤ {IDLE_MB:g} MB idle with one trigger of SQS", f"{number(held)} MB", held <= IDLE_MB


def _half_hour(rows: Rows) -> Iterator[Judged]:
    names = ("ScaledObjects remembered", "places", "memory blocks")
    grown = max(rows[-1][name] / rows[0][name] - 1 for name in names)
    size = rows[0]["ScaledObjects remembered"]
    yield (
        f"nothing grows over 30 minutes of accelerated leases, within {100 * SAME:g} %",
        f"{100 * grown:+.2f} % at {size:,}",
        _big_enough(size, FLEET, holds=grown <= SAME),
    )


def _upstream(rows: Rows) -> Iterator[Judged]:
    (row,) = rows
    yield (
        f"upstream requests follow places: {FLEET:,} on {PLACES} as {PLACES} on {PLACES}, within {100 * SAME:g} %",
        f"ratio {row['ratio']:.4f} for {row['ScaledObjects']:,} on {row['places']:,}",
        _big_enough(row["ScaledObjects"], FLEET, holds=abs(row["ratio"] - 1) <= SAME),
    )


def _replicas(rows: Rows) -> Iterator[Judged]:
    (row,) = rows
    yield (
        "no failed poll while one of three processes is killed and one is added",
        f"{row['failed']} of {row['polls']:,}",
        row["failed"] == 0,
    )


def _wake(rows: Rows) -> Iterator[Judged]:
    for row in rows:
        yield (
            f"{row['way']}: p99 ≤ {row['target s']:g} s",
            f"{number(row['p99 s'])} s of {row['wake-ups']} wake-ups",
            _big_enough(row["wake-ups"], 200, holds=row["p99 s"] <= row["target s"]),
        )


def _idle(rows: Rows) -> Iterator[Judged]:
    streams = min(row["streams"] for row in rows)
    core = max(middle(row["core %"]) for row in rows)
    megabytes, late = max(row["RSS MB"] for row in rows), max(row["latest, intervals"] for row in rows)
    silent = sum(row["silent or broken"] for row in rows)
    over = f"{STREAMS:,} streams over {PLACES} idle places"
    at = f"at {streams:,}"
    yield f"{over}: < {CORE:g} % of a core", f"{number(core)} % {at}", _big_enough(streams, STREAMS, holds=core < CORE)
    yield (
        f"{over}: < {MEGABYTES:g} MB",
        f"{number(megabytes)} MB {at}",
        _big_enough(streams, STREAMS, holds=megabytes < MEGABYTES),
    )
    yield (
        f"{over}: no stream later than {INTERVALS:g} intervals",
        f"{number(late)} {at}; {silent} silent or broken",
        _big_enough(streams, STREAMS, holds=late <= INTERVALS and not silent),
    )


def _restarts(rows: Rows) -> Iterator[Judged]:
    (row,) = rows
    grown = {
        name: row[f"{name} after"] / max(1, row[f"{name} before"]) - 1
        for name in ("tasks", "leases", "askers", "RSS MB")
    }
    clients, streams = row["clients"], row["streams of each"]
    yield (
        f"{CLIENTS} restarts of a client with {STREAMS_EACH} streams leak no task, lease or memory, within {100 * GROWTH:g} %",
        ", ".join(f"{name} {100 * each:+.1f} %" for name, each in grown.items()) + f" at {clients} with {streams}",
        _big_enough(clients * streams, CLIENTS * STREAMS_EACH, holds=max(grown.values()) <= GROWTH),
    )


def _end(rows: Rows) -> Iterator[Judged]:
    (row,) = rows
    well = row["ended OK"] == row["streams in all"] and row["exit code"] == 0
    yield (
        f"SIGTERM with {STREAMS:,} open streams: each ends OK, exit 0 within {END_SECONDS:g} s",
        f"{row['ended OK']:,} of {row['streams in all']:,}, exit {row['exit code']}, {number(highest(row['seconds']))} s",
        _big_enough(row["streams"], STREAMS, holds=well and highest(row["seconds"]) <= END_SECONDS),
    )


def _range(values: Sequence[float]) -> str:
    return f"{number(min(values))} to {number(max(values))}"


def _attacks(rows: Rows) -> Iterator[Judged]:
    late, slow = max(row["p99 ratio"] for row in rows), max(row["p99 ms"] for row in rows)
    lost, memory = sum(row["lost"] for row in rows), max(row["peak MB"] for row in rows)
    size = min(row["size %"] for row in rows)
    yield (
        f"under attack, p99 of others ≤ {LATE:g} times its usual",
        f"at most {number(late)}",
        _big_enough(size, 100, holds=late <= LATE),
    )
    yield (
        f"under attack, p99 of others ≤ {ATTACKED_MS:g} ms",
        f"at most {number(slow)} ms",
        _big_enough(size, 100, holds=slow <= ATTACKED_MS),
    )
    yield "under attack, no answer to others is lost", f"{lost}", _big_enough(size, 100, holds=lost == 0)
    yield (
        f"under attack, memory < {MEMORY_MB:g} MB",
        f"at most {number(memory)} MB",
        _big_enough(size, 100, holds=memory < MEMORY_MB),
    )


Judges = Sequence[tuple[str, Callable[[Rows], Iterator[Judged]]]]
_PERFORMANCE: Judges = (
    ("rpc", _rpc),
    ("grpcio", _grpcio),
    ("fleet", _fleet),
    ("processes", _processes),
    ("storm", _storm),
    ("upstream", _upstream),
    ("half hour", _half_hour),
    ("memory", _memory),
    ("start", _start),
    ("replicas", _replicas),
    ("attacks", _attacks),
)
_PUSH: Judges = (("wake", _wake), ("idle", _idle), ("restarts", _restarts), ("end", _end))
