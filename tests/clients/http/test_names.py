import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import aiodns
import pytest

from scaler.clients.http import names as names_module
from scaler.clients.http.names import Names, NoAddress, of_one_family
from scaler.core.errors import Unavailable
from scaler.core.tenant import TENANT
from scaler.demo.clock import ManualClock
from scaler.demo.name_server import SERVFAIL, NameServer

Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    made = NameServer()
    await made.start()
    yield made
    made.close()


@pytest.fixture
async def names(server: NameServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Names]:
    """Look up as in a pod of namespace shop."""
    search = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    resolver = partial(aiodns.DNSResolver, domains=search, ndots=5)
    monkeypatch.setattr(aiodns, "DNSResolver", resolver)
    made = Names(clock, servers=[server.address])
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("host", "known", "asked_first"),
    [
        pytest.param("db", "db.shop.svc.cluster.local", "db.shop.svc.cluster.local", id="of the same namespace"),
        pytest.param("db.data", "db.data.svc.cluster.local", "db.data.shop.svc.cluster.local", id="of another"),
        pytest.param("db.data.svc.cluster.local", "db.data.svc.cluster.local", None, id="whole, below ndots"),
        pytest.param("a.b.c.d.e.example.com", "a.b.c.d.e.example.com", "a.b.c.d.e.example.com", id="above ndots"),
        pytest.param("db.example.com.", "db.example.com", "db.example.com", id="rooted: no search domain is tried"),
    ],
)
async def test_names_are_looked_up_as_in_a_pod(
    names: Names, server: NameServer, host: str, known: str, asked_first: str | None
) -> None:
    server.names = {known: ["10.0.0.2", "fd00::1", "10.0.0.1"]}
    assert await names.look_up(host) == ("10.0.0.1", "10.0.0.2", "fd00::1")
    assert asked_first in {None, server.asked[0]}


async def test_the_hosts_file_comes_first_and_an_address_is_its_own(names: Names, server: NameServer) -> None:
    assert "127.0.0.1" in await names.look_up("localhost")
    assert await names.look_up("10.0.0.9") == ("10.0.0.9",)
    assert await names.look_up("FD00:0::9") == ("fd00::9",)
    for old in ("127.1", "2130706433", "0x7f000001", "017700000001", "0177.0.0x0.1"):
        assert await names.look_up(old) == ("127.0.0.1",)
    assert server.asked == []


@pytest.mark.parametrize(("ttl", "kept"), [(0, 2), (7, 7), (3_600, 30)])
async def test_an_answer_is_kept_for_its_ttl_within_bounds(
    names: Names, server: NameServer, clock: ManualClock, ttl: int, kept: int
) -> None:
    server.names, server.ttl = {"db.a.b.c.d.e": ["10.0.0.1"]}, ttl
    await names.look_up("db.a.b.c.d.e")
    server.names = {"db.a.b.c.d.e": ["10.0.0.2"]}
    await clock.advance(kept - 0.001)
    assert await names.look_up("db.a.b.c.d.e") == ("10.0.0.1",)
    await clock.advance(0.001)
    assert await names.look_up("db.a.b.c.d.e") == ("10.0.0.2",)


async def test_a_fresh_look_up_sees_what_has_changed_whatever_the_ttl(
    names: Names, server: NameServer, clock: ManualClock
) -> None:
    server.names, server.ttl = {"db.a.b.c.d.e": ["10.0.0.1"]}, 3_600
    await names.look_up("db.a.b.c.d.e")
    server.names = {"db.a.b.c.d.e": ["10.0.0.2"]}
    await clock.advance(1)
    assert await names.look_up("db.a.b.c.d.e", fresh=True) == ("10.0.0.2",)
    assert await names.look_up("db.a.b.c.d.e") == ("10.0.0.2",)


async def test_addresses_that_lead_nowhere_are_asked_for_again_but_not_a_name_without_any(
    names: Names, server: NameServer, clock: ManualClock
) -> None:
    server.names = {"db.a.b.c.d.e": ["10.0.0.1"]}
    await names.look_up("db.a.b.c.d.e")
    server.names = {"db.a.b.c.d.e": ["10.0.0.2"]}
    await clock.advance(1)
    names.doubt("db.a.b.c.d.e")
    assert await names.look_up("db.a.b.c.d.e") == ("10.0.0.2",)
    with pytest.raises(NoAddress):
        await names.look_up("gone.a.b.c.d.e")
    asked = len(server.asked)
    names.doubt("gone.a.b.c.d.e")
    with pytest.raises(NoAddress):
        await names.look_up("gone.a.b.c.d.e")
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("gone.test", "gone.test: the host name has no address"),
        ("empty.test", "the host name has no address"),
        ("broken.test", "broken.test: no name server answers"),
        (f"{'a' * 64}.test", "the host name has no address"),
        (f"{'ä' * 64}.test", "the host name has no address"),
        ("a..b", "the host name has no address"),
        (f"{'a.' * 126}test", "tes…: the host name is too long"),
        ("many.test", "many.test: the host name has more than 3 addresses"),
    ],
)
async def test_a_name_without_address_is_a_fault(
    names: Names, server: NameServer, monkeypatch: pytest.MonkeyPatch, host: str, reason: str
) -> None:
    monkeypatch.setattr(names_module, "MAX_ADDRESSES", 3)
    server.names = {
        "empty.test": [],
        "broken.test": SERVFAIL,
        "many.test": ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"],
    }
    with pytest.raises(NoAddress, match=reason) as caught:
        await names.look_up(host)
    assert isinstance(caught.value, Unavailable)
    assert isinstance(caught.value, OSError)


async def test_a_failure_is_remembered_for_a_while(names: Names, server: NameServer, clock: ManualClock) -> None:
    for _ in range(3):
        with pytest.raises(NoAddress):
            await names.look_up("late.a.b.c.d.e")
    first = len(server.asked)
    assert server.asked.count("late.a.b.c.d.e") == 2  # A and AAAA
    server.names = {"late.a.b.c.d.e": ["10.0.0.1"]}
    await clock.advance(5)
    assert await names.look_up("late.a.b.c.d.e") == ("10.0.0.1",)
    assert len(server.asked) == first + 2


async def test_who_asks_at_the_same_time_asks_once(names: Names, server: NameServer) -> None:
    server.names = {"db.a.b.c.d.e": ["10.0.0.1"]}
    assert await asyncio.gather(*(names.look_up("db.a.b.c.d.e") for _ in range(50))) == [("10.0.0.1",)] * 50
    assert len(server.asked) == 2  # A and AAAA


async def test_dead_names_of_one_tenant_hold_up_no_other(
    names: Names, server: NameServer, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_module, "ASK_SECONDS", 60.0)
    dead = [f"dead-{number}.a.b.c.d.e" for number in range(200)]
    server.names = {**dict.fromkeys(dead), "db.a.b.c.d.e": ["10.0.0.1"], "own.a.b.c.d.e": ["10.0.0.2"]}

    async def ask(tenant: str, host: str) -> tuple[str, ...]:
        TENANT.set(tenant)
        return await names.look_up(host)

    waiting = [asyncio.create_task(ask("hostile", host)) for host in [*dead, "db.a.b.c.d.e"]]
    async with asyncio.timeout(10):
        await until(lambda: len(set(server.asked)) == names_module.AT_ONCE // 2)
        assert await ask("shop", "own.a.b.c.d.e") == ("10.0.0.2",)
        assert await ask("shop", "db.a.b.c.d.e") == ("10.0.0.1",)  # not in the queue of the other
    assert len(set(server.asked) & set(dead)) == names_module.AT_ONCE // 2
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_silent_name_server_is_given_up(
    names: Names, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_module, "ASK_SECONDS", 0.05)
    server.names = {"dead.a.b.c.d.e": None}
    with pytest.raises(NoAddress, match=r"no name server answers \(Timeout"):
        await names.look_up("dead.a.b.c.d.e")


async def test_what_is_kept_is_bounded(names: Names, server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "MAX_KEPT", 3)
    server.names = {f"n{number}.a.b.c.d.e": ["10.0.0.1"] for number in range(9)}
    for host in server.names:
        await names.look_up(host)
    assert list(names._kept) == ["n6.a.b.c.d.e", "n7.a.b.c.d.e", "n8.a.b.c.d.e"]


def test_a_dual_stack_pod_has_one_address_of_each_family() -> None:
    assert of_one_family(("10.0.0.1", "10.0.0.2", "fd00::1")) == ("10.0.0.1", "10.0.0.2")
    assert of_one_family(("fd00::1", "fd00::2")) == ("fd00::1", "fd00::2")
    assert of_one_family(("10.0.0.1", "fd00::1", "fd00::2")) == ("fd00::1", "fd00::2")
    assert of_one_family(("10.0.0.1", "fd00::1")) == ("10.0.0.1",)


async def test_names_of_many_addresses_are_soon_forgotten(
    names: Names, server: NameServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 names of 2,000 addresses each would take more than a gigabyte."""
    monkeypatch.setattr(names_module, "MAX_KEPT_ADDRESSES", 5)
    hosts = [f"{letter}.b.c.d.e.f" for letter in "xyz"]
    server.names = {host: ["10.0.0.1", "10.0.0.2"] for host in hosts}
    for host in hosts:
        await names.look_up(host)
    asked = len(server.asked)
    await clock.advance(1)
    for host in hosts[1:]:
        await names.look_up(host, fresh=host == hosts[1])  # asked again, it counts once
        await names.look_up(host)
    assert set(server.asked[asked:]) == {hosts[1]}
    await names.look_up(hosts[0])
    assert server.asked[-1] == hosts[0]
