from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Request, fetch
from scaler.clients.http.names import Names
from scaler.clients.http.session import open_session
from scaler.demo.raw_http import RawServer, answer


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    """Look up as this machine does."""
    made = Names()
    yield made
    await made.close()


LIMIT = 100_000


@pytest.fixture
def said() -> bytes:
    """What `server` answers."""
    return answer(b"hello\n")


@pytest.fixture
async def server(said: bytes) -> AsyncIterator[RawServer]:
    made = RawServer(said)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def session(names: Names) -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session(Addresses(), names) as made:
        yield made


def request(server: RawServer, **changes: object) -> Request:
    return Request(
        **{"url": URL(f"http://127.0.0.1:{server.port}/metrics"), "where": "the page", "max_bytes": LIMIT, **changes}
    )


async def body_of(session: aiohttp.ClientSession, wanted: Request) -> bytes:
    pieces: list[bytes] = []
    await fetch(session, wanted, pieces.append)
    return b"".join(pieces)
