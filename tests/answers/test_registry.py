"""Who asks: what follows from the metadata alone is shared, and goes with the last who asked."""

import gc
import weakref
from typing import Any

import pytest

from scaler.demo.clock import ManualClock
from scaler.sources.access import AccessRule

pytestmark = pytest.mark.usefixtures("scripted_source")


def test_who_asks_the_same_shares_what_follows_from_it(objects: Any) -> None:
    metadata = {"source": "scripted", "spots": "a"}
    one, two = (objects.find("shop", name, metadata) for name in ("one", "two"))
    other = objects.find("blog", "one", metadata)
    assert one is not two
    assert one.question is two.question
    assert other.question is not one.question, "what a namespace may read is its own"


async def test_what_was_shared_goes_with_the_last_who_asked(objects: Any, clock: ManualClock) -> None:
    question = weakref.ref(objects.who().question)
    assert question() is not None
    await clock.advance(901)
    objects.forget_old()
    gc.collect()
    assert question() is None


def test_whom_new_rules_do_not_allow_is_forgotten(objects: Any) -> None:
    refused = [objects.who(spots) for spots in ("a", "b")]
    allowed = objects.who(namespace="blog")
    assert objects.registry.allow([AccessRule(namespaces=["blog"], urls=["scripted://*"])]) == 2
    assert list(objects) == [allowed]
    assert allowed in objects.registry
    assert refused[0] not in objects.registry


async def test_a_defect_in_a_callback_leaves_nothing_taken(objects: Any, clock: ManualClock) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    objects.who()
    objects.registry.on_forget.append(broken)
    await clock.advance(901)
    with pytest.raises(ZeroDivisionError):
        objects.forget_old()
    assert objects.quota.total == objects.registry._bytes.total == 0
