"""What a hostile or a clumsy tenant has: `python -m bench.hostile KIND SIZE`, in a process of its own.

It prints what its triggers need as a line of JSON, and runs until its standard input ends. It is nice to the client that
measures, with which it shares a core.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from scaler.core.clock import SystemClock
from scaler.demo.name_server import NameServer
from scaler.demo.picky_tls import PickyTls
from scaler.demo.resp import MASTER, RespServer
from scaler.demo.sidekiq import SidekiqOptions, SidekiqProcess
from scaler.demo.valkey import Valkey

Told = dict[str, Any]
NICE = 10
AT_ONCE = 500
PASSWORD = "right"  # noqa: S105 - of a double
ANNOUNCED = b"*2000000000\r\n"
PAGE_BYTES, PIECE_BYTES = 30_000_000, 1 << 18
QUEUES_OF_ONE = 700
DUE_JOB_BYTES = 70_000


@asynccontextmanager
async def announced(_: int) -> AsyncIterator[Told]:
    """Run a Redis whose every answer begins an array of two billion elements."""
    async with RespServer(lambda _: ANNOUNCED) as server:
        yield {"redis": f"redis://127.0.0.1:{server.port}/0"}


async def _fill_processes(client: Any, count: int, queues: int) -> None:
    """Copy the heartbeat that a real process writes, under `count` names."""
    model = SidekiqProcess(
        client, SystemClock(), SidekiqOptions(version="6.5.12", queues={f"q{number}": 1 for number in range(queues)})
    )
    await model.start()
    beat = await client.hgetall(model.identity)
    await model.kill()
    await client.delete(model.identity, "processes")
    beat = {key.decode(): value for key, value in beat.items()}
    beat["beat"] = repr(time.time() + 3_600)  # nobody beats again, and a process is gone a minute after its last
    for start in range(0, count, AT_ONCE):
        async with client.pipeline(transaction=False) as pipe:
            for number in range(start, min(count, start + AT_ONCE)):
                identity = f"host-{number}:1:{number:012x}"
                info = json.loads(beat["info"]) | {"identity": identity, "hostname": f"host-{number}"}
                pipe.sadd("processes", identity)
                pipe.hset(identity, mapping={**beat, "info": json.dumps(info)})
                pipe.expire(identity, 3_600)
            await pipe.execute()


async def _fill_due(client: Any, count: int) -> None:
    """Let `count` retries be due, whose arguments are long, and a job wait."""
    for number in range(count):
        job = {"queue": "q0", "class": "Job", "jid": f"{number:024x}", "args": ["x" * DUE_JOB_BYTES]}
        await client.zadd("retry", {json.dumps(job): time.time() - 60})
    await _fill_processes(client, 5, 1)


@asynccontextmanager
async def _valkey(fill: Callable[[Any], Awaitable[None]]) -> AsyncIterator[Told]:
    with Valkey() as valkey:
        client: Any = valkey.client()  # redis-py's answers are annotated for its synchronous client too
        await fill(client)
        await client.aclose()
        yield {"redis": valkey.url}


def heartbeats(size: int) -> AbstractAsyncContextManager[Told]:
    """Run a Redis of processes that tell of 700 queues each."""
    return _valkey(lambda client: _fill_processes(client, size, QUEUES_OF_ONE))


def processes(size: int) -> AbstractAsyncContextManager[Told]:
    """Run a Redis of honest processes of one queue."""
    return _valkey(lambda client: _fill_processes(client, size, 1))


def retries(size: int) -> AbstractAsyncContextManager[Told]:
    """Run a Redis of retries that are due, of 70 kB each."""
    return _valkey(lambda client: _fill_due(client, size))


@asynccontextmanager
async def passwords(_: int) -> AsyncIterator[Told]:
    """Run a Redis that asks for a password."""
    with Valkey(password=PASSWORD) as valkey:
        yield {"redis": valkey.url.replace(f":{PASSWORD}@", ":wrong-{number}@")}


@asynccontextmanager
async def pages(_: int) -> AsyncIterator[Told]:
    """Serve pages of 30 MB under every path, one series in two of which is wanted."""
    lines = "".join(
        f'workqueue_depth{{name="queue-{number % 50}"}} {number}\nother_total{{name="a",code="{number}"}} {number}\n'
        for number in range(6_000)
    ).encode()
    piece = lines * max(1, PIECE_BYTES // len(lines))
    repeated = PAGE_BYTES // len(piece)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {repeated * len(piece)}\r\n\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(head)
                for _ in range(repeated):
                    writer.write(piece)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the reader has had enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield {"pages": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{{number}}"}


@asynccontextmanager
async def names(_: int) -> AsyncIterator[Told]:
    """Run a name server that never answers for some names, and knows the one that others look up."""
    server = NameServer({f"dead-{number}.test": None for number in range(1_000)} | {"good.test": ["127.0.0.1"]}, ttl=1)
    await server.start()
    yield {"pages": "http://dead-{number}.test:1/", "names": server.address}
    server.close()


@asynccontextmanager
async def handshakes(_: int) -> AsyncIterator[Told]:
    """Run a TLS server that costs each client as much as it can, 180 ms, unless the client refuses."""
    server = PickyTls(260)
    yield {"pages": f"https://127.0.0.1:{await server.start()}/{{number}}"}
    await server.close()


@asynccontextmanager
async def blanks(size: int) -> AsyncIterator[Told]:
    """Run nothing: its triggers have a label selector that can be parsed in ever so many ways, and not to its end."""
    yield {"selector": "a in (" + ", " * (size // 2) + "!{number}"}


@asynccontextmanager
async def folded(size: int) -> AsyncIterator[Told]:
    """Run nothing: the host of its triggers' URLs is one that Unicode folds into eighteen times as many characters."""
    yield {"pages": "http://" + "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * size + "{number}/"}


@asynccontextmanager
async def infos(size: int) -> AsyncIterator[Told]:
    """Run a Redis whose `INFO` has lines without an end, of `size` bytes in all."""
    info = b"a:\n" * (size // 3)
    answers = {b"INFO": b"$%d\r\n%s\r\n" % (len(info), info), b"ROLE": MASTER}
    async with RespServer(lambda command: answers.get(command[0], b"+OK\r\n")) as server:
        yield {"redis": f"redis://127.0.0.1:{server.port}/0"}


@asynccontextmanager
async def half_sent(_: int) -> AsyncIterator[Told]:
    """Run nothing: all that it does is in `DEEDS`."""
    yield {}


async def send_halves(count: int, port: int) -> None:
    """Send the half of `count` HTTP requests, and again whenever the server has had enough."""

    async def send(number: int) -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Half: %d" % number)
                    await reader.read()
                finally:
                    writer.close()
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(send(number))


KINDS: dict[str, Callable[[int], AbstractAsyncContextManager[Told]]] = {
    each.__name__: each
    for each in (
        announced,
        heartbeats,
        pages,
        names,
        passwords,
        processes,
        retries,
        handshakes,
        blanks,
        folded,
        infos,
        half_sent,
    )
}

DEEDS: dict[str, Callable[[int, int], Coroutine[Any, Any, None]]] = {"half_sent": send_halves}
"""What is done to the server, at the HTTP port that is told as a line on standard input."""


async def main(kind: str, size: int) -> None:
    """Serve until standard input ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with KINDS[kind](size) as told:
        print(json.dumps(told), flush=True)  # noqa: T201 - the protocol with the parent
        begin = await lines.readline()
        deed = asyncio.create_task(DEEDS[kind](size, int(begin))) if begin and kind in DEEDS else None
        await lines.read()
        if deed is not None:
            deed.cancel()


if __name__ == "__main__":
    os.nice(NICE)
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
