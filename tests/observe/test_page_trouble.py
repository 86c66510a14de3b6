"""What the page tells of those who are refused, ask no more or are doubtful, and that nothing is sent twice."""

from dataclasses import replace
from typing import Any

import pytest

from scaler.core.errors import MetadataError
from scaler.demo.scripted import ScriptedReader, Work
from tests.observe.test_page import visit  # noqa: F401 - a fixture


async def test_refused_metadata_has_a_row_and_a_page(visit: Any, reader: ScriptedReader) -> None:  # noqa: F811 - the fixture
    async with visit() as site:
        for _ in range(2):
            with pytest.raises(MetadataError):
                await site.ask("orders", target="none")
        said = await site.json("/api/scaledobjects?state=refused")
        (refused,) = said["items"]
        assert (refused["state"], refused["calls"], refused["metrics"]) == ("refused", 2, [])
        assert refused["error"]["code"] == "INVALID_ARGUMENT"
        assert "target" in refused["error"]["message"]
        text = (await site.get("/"))[1]
        assert "refused 2 times" in text
        text = (await site.get("/scaledobjects/shop/orders"))[1]
        assert "metadata of this trigger is refused" in text
        assert "metadata is refused, 2 times" in text


async def test_who_asks_no_more_keeps_a_page_for_a_day(visit: Any, reader: ScriptedReader) -> None:  # noqa: F811 - the fixture
    reader.answers["a"] = Work(3)
    async with visit() as site:
        await site.ask("orders")
        await site.clock.advance(3_600)
        assert (await site.json("/api/scaledobjects"))["items"] == []
        status, text, _ = await site.get("/scaledobjects/shop/orders")
        assert (status, "KEDA is told active" in text) == (200, True)
        await site.clock.advance(86_400)
        assert (await site.get("/scaledobjects/shop/orders"))[0] == 404


async def test_what_is_unchanged_is_not_sent_again(visit: Any, reader: ScriptedReader) -> None:  # noqa: F811 - the fixture
    reader.answers["a"] = Work(3)
    async with visit() as site:
        await site.ask("orders", refreshSeconds="60")
        for path in ("/", "/scaledobjects/shop/orders", "/api/journal?namespace=shop&name=orders"):
            _, _, headers = await site.get(path)
            assert headers["Content-Encoding"] in {"gzip", "deflate"}
            await site.clock.advance(2)  # only ages change
            again = {"If-None-Match": headers["ETag"]}
            status, text, headers = await site.get(path, headers=again)
            assert (status, text) == (304, ""), path
            assert headers["ETag"] == again["If-None-Match"]
            reader.answers["a"] = Work(reader.answers["a"].value + 1)
            await site.clock.advance(70)
            await site.ask("orders", refreshSeconds="60")
            assert (await site.get(path, headers=again))[0] == 200, path


async def test_a_doubt_is_told_beside_the_state(visit: Any, reader: ScriptedReader) -> None:  # noqa: F811 - the fixture
    reader.answers["a"] = Work(0)
    async with visit() as site:
        await site.ask("orders")
        (scaled_object,) = site.server.registry
        told = replace(scaled_object.answer.told, doubts=("no Sidekiq has ever used this database",))
        scaled_object.answer = replace(scaled_object.answer, told=told)
        await site.clock.advance(2)
        (item,) = (await site.json("/api/scaledobjects?state=doubtful"))["items"]
        assert (item["state"], item["doubtful"], item["doubts"]) == ("inactive", True, list(told.doubts))
        assert "no Sidekiq has ever used" in (await site.get("/"))[1]
        assert (
            'queue_scaler_doubtful{namespace="shop",scaledobject="orders",trigger="scripted"} 1.0'
            in (await site.get("/metrics"))[1]
        )
