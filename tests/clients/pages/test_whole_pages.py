"""A page of which a part is missing is a fault, wherever it was cut."""

import gzip

import pytest

from scaler.clients.pages import reader as pages
from scaler.clients.pages.exposition import Family
from scaler.clients.pages.reader import UrlPages, Wanted
from scaler.core.errors import Fault, Unavailable
from scaler.demo.raw_http import RawServer, answer
from tests.clients.pages.conftest import PAGE, WANTED, Reading, by_pod


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        pytest.param(answer(PAGE, headers={"Content-Length": "99"}), "broke off", id="page cut in half"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + PAGE[:-2], "cut short", id="page cut in half without a length"),
        pytest.param(answer(PAGE, status=403), "HTTP 403", id="forbidden"),
        pytest.param(answer(b"<html>\n</html>\n"), "the page has no workqueue_depth: what now?", id="another page"),
        pytest.param(answer(b""), "the page has no workqueue_depth", id="an empty page"),
        pytest.param(answer(b'workqueue_depth{name="a"} x\n'), "not a number", id="no number"),
        pytest.param(
            answer(PAGE, headers={"Content-Type": "application/openmetrics-text"}), "# EOF", id="OpenMetrics cut"
        ),
    ],
)
async def test_a_page_that_is_not_whole_is_a_fault_that_names_it(
    reading: Reading, raw: RawServer, told: bytes, reason: str
) -> None:
    raw.answer = told
    with pytest.raises(Fault, match=f"^metrics of http://127.0.0.1:{raw.port}/metrics, 127.0.0.1: .*{reason}"):
        await reading.one(UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED))


WHOLE = (
    b'workqueue_adds_total{name="a"} 9\n'
    b'workqueue_depth{name="a",priority="-100"} 2\n'
    b'workqueue_depth{name="a",priority="0"} 3\n'
)
OF_TWO = Wanted(WANTED.families | {Family("workqueue_adds_total", ("name",))}, frozenset({"workqueue_adds_total"}))
GZIP = {"Content-Encoding": "gzip"}
OPENMETRICS = b"HTTP/1.0 200 OK\r\nContent-Type: application/openmetrics-text\r\n\r\n"


def chunked(body: bytes, size: int = 40) -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])


@pytest.mark.parametrize(
    "resets", [pytest.param(False, id="closed"), pytest.param(True, id="reset", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("head", "wire", "whole"),
    [
        pytest.param(answer(b"", headers={"Content-Length": str(len(WHOLE))}), WHOLE, True, id="length"),
        pytest.param(answer(b"", headers={"Transfer-Encoding": "chunked"}), chunked(WHOLE), True, id="chunked"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", WHOLE, False, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", WHOLE, False, id="Connection: close"),
        pytest.param(OPENMETRICS, WHOLE + b"# EOF\n", True, id="OpenMetrics"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n", gzip.compress(WHOLE), True, id="gzip alone"),
        pytest.param(
            answer(b"", headers={**GZIP, "Transfer-Encoding": "chunked"}),
            chunked(gzip.compress(WHOLE)),
            True,
            id="gzip in chunks",
        ),
    ],
)
async def test_a_page_that_is_cut_anywhere_is_a_fault(
    reading: Reading, raw: RawServer, head: bytes, wire: bytes, *, whole: bool, resets: bool
) -> None:
    """A cut between two series of a queue would be a part of its items; one before its depth series would be 0."""
    place = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", OF_TWO)
    raw.resets = resets
    for cut in range(len(wire)):
        raw.answer = head + wire[:cut]
        found = (await reading.read(place))[place]
        # The last byte of OpenMetrics, and those of the last chunk, tell nothing that was not known before them.
        known = wire[:cut].endswith(b"# EOF")
        assert isinstance(found, Unavailable) or known, (cut, found)
    raw.answer, raw.resets = head + wire, False
    found = (await reading.read(place))[place]
    assert isinstance(found, tuple) == whole, found
    if whole:
        assert by_pod(found) == {"127.0.0.1": 5}


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
async def test_a_length_that_is_too_short_is_a_fault(reading: Reading, raw: RawServer, length: int) -> None:
    raw.answer = answer(WHOLE, headers={"Content-Length": str(length)})
    found = (await reading.read(place := UrlPages(f"http://127.0.0.1:{raw.port}/metrics", OF_TWO)))[place]
    assert isinstance(found, Unavailable), found


async def test_openmetrics_is_read(reading: Reading, raw: RawServer) -> None:
    raw.answer = answer(PAGE + b"# EOF\n", headers={"Content-Type": "application/openmetrics-text; version=1.0.0"})
    assert by_pod(await reading.one(UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED))) == {"127.0.0.1": 3}
    assert "Accept: text/plain;version=0.0.4, application/openmetrics-text" in raw.heads[0]


async def test_a_page_over_the_limit_is_a_fault(
    reading: Reading, raw: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", len(PAGE) - 1)
    with pytest.raises(Unavailable, match=f"larger than {len(PAGE) - 1} bytes, which is the limit"):
        await reading.one(UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED))


@pytest.mark.parametrize(
    ("kind", "unit"),
    [pytest.param("text/plain", 1_000, id="text"), pytest.param("application/openmetrics-text", 1, id="OpenMetrics")],
)
async def test_old_timestamps_are_a_fault(reading: Reading, raw: RawServer, kind: str, unit: int) -> None:
    def page(*ages: float) -> bytes:
        stamps = (int((reading.clock.wall() - age) * unit) for age in ages)
        lines = [f'workqueue_depth{{name="{number}"}} 0 {stamp}\n' for number, stamp in enumerate(stamps)]
        return answer("".join([*lines, "# EOF\n"]).encode(), headers={"Content-Type": kind})

    place = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED)
    raw.answer = page(149, 0, -60)
    assert (await reading.one(place))[0].sums["workqueue_depth"] == {"0": 0, "1": 0, "2": 0}
    raw.answer = page(0, 152, 0)
    with pytest.raises(Fault, match="a series has a timestamp that is 152 s old, more than 150"):
        await reading.one(place)
