"""What proves a value of the Kubernetes API: every page of the list, and a watch that has spoken; and who reads on."""

import asyncio
import copy
import json
import pickle
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiohttp import web

from scaler.clients.kubernetes.api import Api
from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.config import Cluster
from scaler.clients.kubernetes.faults import BusyError
from scaler.clients.kubernetes.json_stream import PageEnd, WholeList
from scaler.clients.kubernetes.json_text import BadAnswerError
from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.clients.kubernetes.reader import ObjectsReader
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.clients.kubernetes.shares import Shares
from scaler.core.domain import Found, Place
from scaler.core.errors import Fault, ScalerError, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_paths import Refusal
from scaler.demo.proxy import Proxy, Trouble

Until = Callable[[Callable[[], bool]], Awaitable[None]]
OpenClient = Callable[..., AbstractAsyncContextManager[Kubernetes]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], AbstractAsyncContextManager[str]]

PODS = Resource("", ("v1",), "pods")


def name_of(found: Any) -> str:
    return str(found["metadata"]["name"])


ALL_PODS = Objects(PODS, "", "", name_of)


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "labels": labels}}


@pytest.fixture
async def client(double: KubernetesDouble) -> AsyncIterator[Kubernetes]:
    made = Kubernetes(KubernetesSettings(url=double.url))
    yield made
    await made.close()


# Pages that belong together


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        pytest.param([("7", "", None, 3)], "", id="one page"),
        pytest.param([("7", "", 0, 3)], "", id="one page that tells that nothing is left"),
        pytest.param([("7", "a", 5, 3), ("7", "b", 2, 3), ("7", "", None, 2)], "", id="three pages"),
        pytest.param([("7", "a", 5, 3), ("7", "b", None, 3), ("7", "", None, 2)], "", id="told once"),
        pytest.param([("7", "a", None, 3), ("7", "", None, 0)], "", id="a selector, so that nothing is told"),
        pytest.param([("7", "", 5, 3)], "ends 5 objects too early", id="continue is missing"),
        pytest.param([("7", "a", 5, 3), ("7", "", 2, 3)], "ends 2 objects too early", id="continue is missing later"),
        pytest.param([("7", "a", 5, 3), ("8", "", None, 5)], "version 8 of a list at version 7", id="another version"),
        pytest.param([("7", "a", 5, 3), ("7", "", None, 3)], "page of 3 objects where 5", id="fewer than announced"),
        pytest.param([("7", "a", 5, 3), ("7", "", None, 0)], "page of 0 objects where 5", id="an empty last page"),
        pytest.param([("7", "a", 5, 3), ("7", "b", 4, 3)], "page of 3 objects where 5", id="counts disagree"),
        pytest.param([("7", "a", None, 3), ("7", "a", None, 3)], "leads back", id="names itself as the next"),
        pytest.param([("7", "a", 9, 1), ("7", "b", 8, 1), ("7", "a", 7, 1)], "leads back", id="a circle"),
    ],
)
def test_pages_make_a_list_only_together(pages: list[tuple[str, str, int | None, int]], why: str) -> None:
    whole = WholeList()
    *first, last = (PageEnd(*page) for page in pages)
    for page in first:
        whole.add(page)
        assert not whole.complete
    if why:
        with pytest.raises(BadAnswerError, match=why):
            whole.add(last)
    else:
        whole.add(last)
    assert whole.complete == (not why)


def page_text(names: list[str], **metadata: Any) -> str:
    items = [pod(name) for name in names]
    return json.dumps({"kind": "PodList", "metadata": {"resourceVersion": "7", **metadata}, "items": items})


@pytest.mark.parametrize(
    ("second", "why"),
    [
        pytest.param(page_text(["b"], resourceVersion="9"), "at version 9 of a list at version 7", id="version"),
        pytest.param(page_text(["b"], **{"continue": "next"}), "leads back", id="circle"),
        pytest.param(page_text([]), "page of 0 objects where 1 were left", id="empty"),
        pytest.param(page_text(["b"], remainingItemCount=3), "ends 3 objects too early", id="no continue"),
        pytest.param(page_text(["b"])[:-2], "breaks off", id="truncated"),
        pytest.param(page_text(["b"], remainingItemCount="1"), "no count", id="no count"),
    ],
)
async def test_a_list_that_lacks_a_page_is_a_fault_and_then_listed_from_the_start(
    open_client: OpenClient, serve: Serve, hang: Handler, second: str, why: str
) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("watch"):
            return await hang(request)
        asked.append(request.query.get("continue", ""))
        if not asked[-1]:
            return web.Response(text=page_text(["a"], remainingItemCount=1, **{"continue": "next"}))
        return web.Response(text=second if asked.count("next") == 1 else page_text(["b"]))

    clock = ManualClock()
    async with serve(answer) as url, open_client(url, clock) as client:
        with pytest.raises(Unavailable, match=why):
            await client.objects(ALL_PODS)
        await clock.advance(1)
        assert (await patiently(clock, client)).objects == ("a", "b")
    assert asked == ["", "next", "", "next"]


async def patiently(clock: ManualClock, client: Kubernetes) -> Any:
    """Ask until there is an answer, moving the clock."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await client.objects(ALL_PODS)
            except Fault:
                await clock.advance(0.5)
                await asyncio.sleep(0.002)


async def test_a_list_that_began_while_the_api_was_asked_for_its_health_is_waited_for(
    double: KubernetesDouble, open_client: OpenClient, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    for number in range(600):
        double.put("pods", pod(f"p{number}"))
    checking, checked, half, rest = (asyncio.Event() for _ in range(4))
    original = Api.page

    async def check(_api: Api) -> None:
        checking.set()
        await checked.wait()

    async def page(api: Api, place: Objects, pages: WholeList, keep: Callable[[Any], None]) -> None:
        if pages.version:
            half.set()
            await rest.wait()
        await original(api, place, pages, keep)

    async with open_client(double.url, clock) as client:
        assert len((await client.objects(ALL_PODS)).objects) == 600
        monkeypatch.setattr(Api, "check", check)
        monkeypatch.setattr(Api, "page", page)
        asking = asyncio.create_task(client.objects(ALL_PODS))
        await checking.wait()
        double.put("pods", pod("one more"))
        double.store.compact()
        await until(lambda: not client._watches[ALL_PODS]._known.is_set())
        await clock.advance(0.25)
        await half.wait()
        checked.set()
        await asyncio.sleep(0.01)
        assert not asking.done()
        rest.set()
        assert len((await asking).objects) == 601


# A watch that has spoken


async def test_the_proof_tells_what_was_seen(double: KubernetesDouble, open_client: OpenClient) -> None:
    clock, reported = ManualClock(), dict[Place, Found | Fault]()
    double.put("pods", pod("a"))
    async with open_client(double.url, clock) as client:
        reader = ObjectsReader(client)
        await reader.read([ALL_PODS], reported.__setitem__)
        await clock.advance(40)
        await reader.read([ALL_PODS], reported.__setitem__)
        await reader.close()
    found = reported[ALL_PODS]
    assert isinstance(found, Found)
    assert str(found.proof) == (
        f"whole: a list to its last page, and its watch at version {double.store.version}, which spoke 40 s before; "
        f"from: Kubernetes API {double.url}"
    )


async def test_a_deaf_watch_is_opened_again_and_after_two_minutes_its_objects_are_listed_anew(
    open_client: OpenClient, serve: Serve, hang: Handler, until: Until
) -> None:
    """Headers arrive, and nothing ever after: a connection that a load balancer has forgotten, or a proxy that holds back."""
    lists, watches, listing = 0, 0, asyncio.Event()
    listing.set()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal lists, watches
        if request.query.get("watch"):
            watches += 1
            return await hang(request)
        lists += 1
        await listing.wait()
        return web.Response(text=page_text([f"of list {lists}"]))

    clock = ManualClock()
    async with serve(answer) as url, open_client(url, clock) as client:
        assert (await client.objects(ALL_PODS)).objects == ("of list 1",)
        await clock.advance(74)
        assert watches == 1
        await clock.advance(1)
        await until(lambda: watches == 2)
        await clock.advance(0.3)
        assert (await client.objects(ALL_PODS)).objects == ("of list 1",)  # within its two minutes

        listing.clear()
        await clock.advance(45)
        asking = asyncio.create_task(client.objects(ALL_PODS))
        await until(lambda: lists == 2)
        await clock.advance(4.5)
        with pytest.raises(Unavailable, match="the list is still running"):  # a fault, not the old value
            await asking
        listing.set()
        assert (await client.objects(ALL_PODS)).objects == ("of list 2",)
    assert (lists, watches) == (2, 3)


async def test_a_bookmark_is_enough(double: KubernetesDouble, open_client: OpenClient, until: Until) -> None:
    clock = ManualClock()
    async with open_client(double.url, clock) as client:
        await client.objects(ALL_PODS)
        for _ in range(5):
            await clock.advance(60)
            double.bookmark()
            await until(lambda: client._watches[ALL_PODS]._spoken_at == clock.now())
            await client.objects(ALL_PODS)
    assert double.requests["list", "pods"] == 1
    assert double.requests["watch", "pods"] == 1


async def test_a_peer_that_is_gone_without_a_word_is_noticed_by_its_connection(double: KubernetesDouble) -> None:
    api = Api(Cluster(double.url), ManualClock(), lambda *_: None, Shares(KubernetesSettings()))
    async with api._session.get(f"{double.url}/api/v1/pods?watch=1") as response:
        assert response.connection is not None
        assert response.connection.transport is not None
        used = response.connection.transport.get_extra_info("socket")
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [used.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [15, 5, 3]
    await api.close()


async def test_a_defect_at_one_place_does_not_spoil_the_others(
    double: KubernetesDouble, client: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, reported = Kubernetes.found, dict[Place, Found | Fault]()

    async def found(self: Kubernetes, place: Objects, **asked: Any) -> Found:
        if place.namespace == "bad":
            raise ZeroDivisionError
        return await original(self, place, **asked)

    monkeypatch.setattr(Kubernetes, "found", found)
    reader = ObjectsReader(client)
    with pytest.raises(ZeroDivisionError):  # which the store tells as a fault of what was not reported
        await reader.read([Objects(PODS, "bad", "", name_of), ALL_PODS], reported.__setitem__)
    assert list(reported) == [ALL_PODS]
    await reader.close()


# Who reads on


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(429, "TooManyRequests", "storage is (re)initializing"),
        Refusal(500, "InternalError", "etcdserver: leader changed"),
        Refusal(410, "Expired", "too old resource version"),
        Refusal(503, "ServiceUnavailable", "apiserver is shutting down"),
        Refusal(401, "Unauthorized", "Unauthorized"),
        Refusal(403, "Forbidden", "RBAC: clusterrole not found"),
        Refusal(404, "NotFound", "the server could not find the requested resource"),
        Trouble.REFUSE,
        Trouble.RESET,
        Trouble.CUT,
    ],
    ids=lambda trouble: str(getattr(trouble, "code", trouble)),
)
async def test_a_restart_of_the_api_server_is_a_fault_and_then_over(
    open_client: OpenClient, refusal: Refusal | Trouble
) -> None:
    double, clock = KubernetesDouble(), ManualClock()
    proxy = Proxy(int((await double.start()).rpartition(":")[2]))
    await proxy.start()
    double.put("pods", pod("a"))
    async with open_client(f"http://127.0.0.1:{proxy.port}", clock) as client:
        for outage in range(2):
            await patiently(clock, client)
            if isinstance(refusal, Refusal):
                double.refusal = refusal
            else:
                await proxy.turn(refusal)
            double.end_watches()
            with pytest.raises(Fault):
                await faulty(clock, client)
            double.put("pods", pod(f"b{outage}"))
            double.refusal = None
            await proxy.turn(Trouble.NONE)
            while set((await patiently(clock, client)).objects) != {"a", *(f"b{n}" for n in range(outage + 1))}:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.002)
    await proxy.close()
    await double.stop()


async def faulty(clock: ManualClock, client: Kubernetes) -> None:
    """Ask, moving the clock, until it raises."""
    async with asyncio.timeout(10):
        while True:
            asking = asyncio.create_task(client.objects(ALL_PODS))
            while not asking.done():
                await clock.advance(0.5)
                await asyncio.sleep(0.002)
            await asking


@pytest.mark.parametrize("error", [ZeroDivisionError(), TypeError("arguments"), asyncio.CancelledError()], ids=repr)
async def test_whatever_is_raised_within_a_watch_does_not_end_it(
    double: KubernetesDouble, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    clock, original = ManualClock(), Api.watch

    async def watch(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Api, "watch", watch)
    async with open_client(double.url, clock) as client:
        with pytest.raises(Unavailable, match=r"internal error|a part of the request was cancelled"):
            await client.objects(ALL_PODS)
        monkeypatch.setattr(Api, "watch", original)
        double.put("pods", pod("a"))
        assert (await patiently(clock, client)).objects == ("a",)


async def test_a_watch_whose_task_has_ended_is_a_fault_and_is_started_anew(
    double: KubernetesDouble, open_client: OpenClient
) -> None:
    clock, told = ManualClock(), asyncio.Event()
    async with open_client(double.url, clock) as client:
        await client.objects(ALL_PODS, user="reader", changed=told.set)
        await clock.advance(0.1)
        told.clear()
        client._watches[ALL_PODS].task.cancel()
        await clock.advance(0.1)
        await told.wait()
        with pytest.raises(Unavailable, match=r"has ended \(it was cancelled\) and is started anew"):
            await client.objects(ALL_PODS, user="reader")
        double.put("pods", pod("a"))
        assert (await patiently(clock, client)).objects == ("a",)


async def test_one_who_cannot_be_told_does_not_keep_it_from_the_others(
    double: KubernetesDouble, client: Kubernetes
) -> None:
    told = asyncio.Event()

    def defect() -> None:
        raise ZeroDivisionError

    await client.objects(ALL_PODS, user="defect", changed=defect)
    await client.objects(ALL_PODS, user="other", changed=told.set)
    told.clear()
    double.put("pods", pod("a"))
    async with asyncio.timeout(10):
        await told.wait()
    assert (await client.objects(ALL_PODS)).objects == ("a",)


def subclasses(base: type[Any]) -> set[type[Any]]:
    return {base}.union(*(subclasses(each) for each in base.__subclasses__()))


ERRORS = sorted(
    (
        each
        for each in subclasses(ScalerError) | {Refusal, BadAnswerError}
        if each.__module__.startswith(("scaler.clients.kubernetes", "scaler.clients.aws", "scaler.demo.kubernetes"))
    ),
    key=lambda each: each.__name__,
)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_can_be_copied(kind: type[Exception]) -> None:
    made = kind(404, "NotFound", "why") if kind is Refusal else kind("why")  # type: ignore[call-arg]
    for copied in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made)), type(made)(*made.args)):
        assert (type(copied), str(copied), copied.__dict__) == (kind, str(made), made.__dict__)


def test_a_copy_keeps_the_pause() -> None:
    copied = type(fault := BusyError("busy", 20.0))(*fault.args)
    assert (str(copied), copied.pause_seconds) == ("busy", 20.0)
    assert BusyError in ERRORS
