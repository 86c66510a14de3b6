"""Busy processes that the metadata do not choose are named, with advice that can be followed."""

import re

import pytest

from scaler.sources.sidekiq.fleet import owner_of, stateful_set_of
from scaler.sources.sidekiq.state import Process
from tests.sources.sidekiq.judging import judged, pod, process, trigger

STATEFUL = [process(f"shop-{number}", 2) for number in range(2)]


@pytest.mark.parametrize(
    ("metadata", "live", "told"),
    [
        (
            {"deployment": "shop"},
            STATEFUL,
            (
                "4 busy threads of processes that fetch default do not count, as they do not fit deployment: shop: "
                "shop-0, shop-1; these look like pods of a StatefulSet: instead of deployment write hostnameRegex: ^shop-[0-9]+$"
            ),
        ),
        (
            {"deployment": "shop-sidekiq"},
            [process(pod("shop"), 3)],
            f"as they do not fit deployment: shop-sidekiq: {pod('shop')}; these look like pods of deployment: shop",
        ),
        (
            {"deployment": "shop"},
            [process("vm", 1)],
            "deployment: shop: vm; a Deployment gives its pods other names: instead of deployment write hostnameRegex, tag",
        ),
        ({"deployment": "shop"}, [process("shop-x7k2p", 1)], "a Deployment gives its pods other names"),
        ({"deployment": "shop"}, [process("ip-10-0-0-1.ec2.internal", 1)], "a Deployment gives its pods other names"),
        (
            {"deployment": "shop", "label": "x"},
            [process(pod("shop"), 3)],
            f"as they do not fit deployment: shop, label: x: {pod('shop')}; they have no label",
        ),
        (
            {"deployment": "web", "tag": "x"},
            [process("my-web-0", 3)],
            "instead of deployment write hostnameRegex: ^my-web-[0-9]+$; their tag is app",
        ),
        ({"hostnameRegex": "^web"}, [process(pod("shop"), 3)], "as they do not fit hostnameRegex: ^web"),
        (
            {"tag": "shop"},
            [process(pod("shop"), 3)],
            "as they do not fit tag: shop: shop-6d4cf56db6-00000; their tag is app",
        ),
        (
            {"label": "x"},
            [process(pod("shop"), 3, labels=("a", "b"))],
            "as they do not fit label: x: shop-6d4cf56db6-00000; their labels are a, b",
        ),
        (
            {"capsule": "slow"},
            [process(pod("shop"), 3)],
            "as they do not fit capsule: slow: shop-6d4cf56db6-00000; they report no capsule",
        ),
        ({"deployment": "shop"}, [process("shop-0", 2, quiet=True)], "2 busy threads"),
    ],
    ids=[
        "StatefulSet",
        "other Deployment",
        "neither",
        "bare ReplicaSet",
        "node",
        "no label",
        "two keys",
        "regex",
        "tag",
        "label",
        "capsule",
        "quiet",
    ],
)
def test_busy_processes_that_fit_no_selection_are_named(
    metadata: dict[str, str], live: list[Process], told: str
) -> None:
    found = judged(trigger(**metadata), *live)
    assert not found.active
    assert found.metrics[0].value == 0
    (doubt,) = found.doubts
    assert told in doubt
    assert doubt in found.reasons


@pytest.mark.parametrize(
    ("written", "live"),
    [
        ({"deployment": "shop"}, STATEFUL),
        ({"deployment": "shop.v2"}, [process("shop.v2-0", 2)]),
        ({"deployment": "shop-sidekiq"}, [process(pod("shop"), 3)]),
        ({"tag": "shop"}, [process(pod("shop"), 3)]),
        ({"label": "x"}, [process(pod("shop"), 3, labels=("a",))]),
    ],
    ids=["hostnameRegex", "hostnameRegex with a dot", "deployment", "tag", "label"],
)
def test_advice_can_be_followed(written: dict[str, str], live: list[Process]) -> None:
    (doubt,) = judged(trigger(**written), *live).doubts
    forms = r"write (hostnameRegex): (\S+)$", r"pods of (deployment): (\S+)$", r"their (tag|label)s? (?:is|are) (\S+)$"
    found = next(filter(None, (re.search(form, doubt) for form in forms)))
    told = judged(trigger(**{found[1]: found[2]}), *live)
    assert told.active
    assert told.metrics[0].value > 0
    assert told.doubts == ()


def test_workloads_that_share_a_queue_do_not_doubt_each_other() -> None:
    a, b = process(pod("a")), process(pod("b"), 4)
    found = judged(trigger(deployment="a"), a, b)
    assert not found.active
    assert found.doubts == ()


def test_pods_of_before_a_rollout_are_meant() -> None:
    old, new = process(pod("shop", 1), 4), process(pod("shop", 2), labels=("mine",))
    (doubt,) = judged(trigger(label="mine"), old, new).doubts
    assert (
        f"4 busy threads of processes that fetch default do not count, as they do not fit label: mine: {pod('shop', 1)}"
        in doubt
    )
    (doubt,) = judged(trigger(hostnameRegex="00002$"), old, new).doubts
    assert pod("shop", 1) in doubt
    (doubt,) = judged(trigger(hostnameRegex="^shop", tag="x"), process(pod("shop"), 4)).doubts
    assert "their tag is app" in doubt
    (doubt,) = judged(trigger(deployment="shop"), new, *STATEFUL).doubts
    assert "shop-0, shop-1" in doubt


def test_names_from_redis_are_shown_safely() -> None:
    host = "x\n\x1b[31m" + "y" * 200
    (doubt,) = judged(trigger(deployment="shop"), process(host, 1)).doubts
    assert doubt.isprintable()
    assert len(doubt) < 400


@pytest.mark.parametrize(
    ("host", "owner"),
    [("shop-6d4cf56db6-x7k2p", "shop"), ("shop-12", "shop"), ("vm", "vm"), ("shop-1-2", "shop-1")],
)
def test_owner_of_a_pod(host: str, owner: str) -> None:
    assert owner_of(host) == owner


def test_stateful_set_of_a_pod() -> None:
    assert (stateful_set_of("shop-0"), stateful_set_of("shop"), stateful_set_of("shop-x")) == ("shop", None, None)
