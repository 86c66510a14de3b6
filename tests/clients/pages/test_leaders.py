"""Pods that stand by, and what is a change: another leader, a process that has started, a pod that is missing."""

import itertools
import math
from collections.abc import Mapping

import pytest

from scaler.clients.pages.exposition import LEADER, Page
from scaler.clients.pages.reader import PodPages, UrlPages
from scaler.core.domain import Place
from scaler.core.errors import Unavailable
from scaler.demo.controllers import Controller
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.reported import Reported
from tests.clients.pages.conftest import PAGE, WANTED, Reading, by_pod, pod, port_of


async def test_a_pod_that_stands_by_does_not_count_even_if_its_queues_exist(
    reading: Reading, raw: RawServer, pods: list[Controller]
) -> None:
    """As with client-go, which makes them at once, empty."""
    reading.kubernetes.pods = (pod(1), pod(2))
    place = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED)
    pods[0].leads, pods[1].leads = True, False
    standby = Page("pod controller-2", {LEADER.name: {"": 0.0}})
    for with_queues in (False, True):
        pods[1].stands_by_with_queues = with_queues
        leader, other = await reading.one(place)
        assert by_pod((leader,)) == {"pod controller-1": 1}
        assert other == standby
    pods[0].leads = False
    with pytest.raises(Unavailable, match="none of 2 pods leads at present"):
        await reading.one(place)


@pytest.mark.parametrize(
    ("elections", "leads"),
    [
        pytest.param({"a": "1"}, True, id="one, led"),
        pytest.param({"a": "0", "b": "1", "c": "0"}, True, id="several, of which one is led"),
        pytest.param({"a": "0"}, False, id="one, not led"),
        pytest.param({"a": "0", "b": "0"}, False, id="several, none led"),
        pytest.param({"a": "NaN"}, None, id="not known"),
        pytest.param({"a": "1", "b": "-1"}, None, id="no status"),
    ],
)
async def test_a_page_leads_if_it_leads_in_any_election(
    reading: Reading, raw: RawServer, elections: Mapping[str, str], *, leads: bool | None
) -> None:
    status = "".join(f'leader_election_master_status{{name="{name}"}} {value}\n' for name, value in elections.items())
    raw.answer = answer(status.encode() + PAGE)
    place = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED)
    if leads:
        assert by_pod(await reading.one(place)) == {"127.0.0.1": 3}
        return
    reason = "none of 1 pods leads at present.*headless Service" if leads is False else "not known who leads"
    with pytest.raises(Unavailable, match=reason):
        await reading.one(place)


async def test_a_service_before_leader_and_standby_tells_the_leaders_queue_or_nothing(
    reading: Reading, raw: RawServer
) -> None:
    turn = itertools.cycle([1, 0])
    raw.answer = lambda _: answer(
        f'leader_election_master_status{{name="x"}} {(leads := next(turn))}\nworkqueue_depth{{name="a"}} {7 * leads}\n'.encode()
    )
    place = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED)
    for _ in range(3):
        assert by_pod(await reading.one(place)) == {"127.0.0.1": 7}
        with pytest.raises(Unavailable, match="none of 1 pods leads"):
            await reading.one(place)


def found_of(reading: Reading, told: Reported, place: Place) -> tuple[float, tuple[Page, ...]]:
    return reading.clock.now() - told.changes[place], told[place]


@pytest.mark.parametrize(
    ("page", "ago"),
    [
        pytest.param(b"process_start_time_seconds %d\n", 40.0, id="it says so"),
        pytest.param(b"process_start_time_seconds 9e12\n", 0.0, id="by a clock that is ahead"),
        pytest.param(b"process_start_time_seconds NaN\n", math.inf, id="it does not know"),
        pytest.param(b"", math.inf, id="it does not say"),
    ],
)
async def test_start_of_a_process_is_told_in_our_time_and_is_no_part_of_the_reading(
    reading: Reading, raw: RawServer, page: bytes, ago: float
) -> None:
    started = page.replace(b"%d", b"%d" % (reading.clock.wall() - 40))
    raw.answer = answer(started + PAGE)
    place, told = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED), Reported()
    await reading.reader.read([place], told)
    assert found_of(reading, told, place) == (ago, (Page("127.0.0.1", {"workqueue_depth": {"a": 3}}),))


async def test_a_pod_that_is_missing_is_a_change_and_one_more_is_none(reading: Reading, pods: list[Controller]) -> None:
    """A name leaves out pods that are not ready, and a Prometheus those that it does not know yet."""
    place, ago = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED), []
    for there in ((pod(1), pod(2)), (pod(1), pod(2), pod(3)), (pod(1), pod(3)), (pod(1), pod(3))):
        reading.kubernetes.pods = there
        told = Reported()
        await reading.reader.read([place], told)
        ago.append(found_of(reading, told, place)[0])
        await reading.clock.advance(5)
    assert ago == [math.inf, math.inf, 0.0, math.inf]


async def test_another_leader_is_a_change_and_a_standby_that_starts_is_none(
    reading: Reading, raw: RawServer, pods: list[Controller]
) -> None:
    reading.kubernetes.pods = (pod(1), pod(2))
    place = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED)
    ago = []
    for leads in (0, 0, 1, 1):
        pods[0].leads, pods[1].leads = leads == 0, leads == 1
        told = Reported()
        await reading.reader.read([place], told)
        ago.append(found_of(reading, told, place)[0])
        await reading.clock.advance(5)
    assert ago == [math.inf, math.inf, 0.0, math.inf]
    standby = b'leader_election_master_status{name="x"} 0\nprocess_start_time_seconds %d\n' % reading.clock.wall()
    leader = b'leader_election_master_status{name="x"} 1\n' + PAGE
    pages = itertools.cycle([standby, leader])
    raw.answer = lambda _: answer(next(pages))
    reading.names.known = {"both": ["127.0.0.1", "127.0.0.1"]}
    place_of_both, told = UrlPages(f"http://both:{raw.port}/metrics", WANTED), Reported()
    await reading.reader.read([place_of_both], told)
    assert found_of(reading, told, place_of_both)[0] == math.inf


async def test_the_proof_says_how_each_end_was_certain_and_whose_pages_they_are(
    reading: Reading, raw: RawServer, pods: list[Controller]
) -> None:
    reading.kubernetes.pods = (pod(1), pod(2))
    pods[0].leads, pods[1].leads = True, False
    told = Reported()
    place = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED)
    await reading.reader.read([place], told)
    assert str(told.proofs[place]) == (
        "whole: 2 of 2 pages to their end, by its length; "
        "from: every running pod with app=controller in namespace ns; pod controller-1 leads, 1 stand by"
    )
    raw.answer = b"HTTP/1.0 200 OK\r\n\r\n" + PAGE + b"# EOF\n"
    other = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED)
    await reading.reader.read([other], told)
    assert str(told.proofs[other]) == "whole: 1 of 1 pages to their end, by its # EOF; from: every address of 127.0.0.1"
