import math
import re
from typing import Any

import pytest

from scaler.core.domain import Assessment
from scaler.sources import triggers
from scaler.sources.redis_places import RedisClock
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.fleet import Processes, owner_of, stateful_set_of
from scaler.sources.sidekiq.info import Info
from scaler.sources.sidekiq.known_queues import Elsewhere, Known
from scaler.sources.sidekiq.state import Depth, Due, Process

NOW = 1_800_000_000.0
CLOCK = RedisClock(0.0)
USED = frozenset({"default", "mail"})


def trigger(**metadata: str) -> SidekiqTrigger:
    parsed = triggers.parse({"source": "sidekiq", "redis": "main", "queues": "default", **metadata}, "shop")
    assert isinstance(parsed, SidekiqTrigger)
    return parsed


def process(host: str, busy: int = 0, *, queues: tuple[str, ...] = ("default",), **changes: Any) -> Process:
    info = Info(changes.pop("tag", "app"), frozenset(changes.pop("labels", ())), frozenset(queues), (), 5)
    fields = {"info": info, "concurrency": 5, "quiet": False, "late": False, **changes}
    return Process(f"{host}:1:{'0' * 12}", busy=busy, **fields)


def pod(deployment: str, number: int = 0) -> str:
    return f"{deployment}-6d4cf56db6-{number:05d}"


def judged(
    parsed: SidekiqTrigger,
    *live: Process,
    known: frozenset[str] | None = USED,
    waiting: dict[str, int] | None = None,
    near: dict[str, Elsewhere] | None = None,
    due: dict[str | None, tuple[float, ...]] | None = None,
    lost: tuple[Any, ...] = (),
    **counts: int,
) -> Assessment:
    plan = parsed.plan
    readings: dict[Any, Any] = {
        plan.processes: Processes(live, **counts),
        plan.due: Due(due or {}, math.inf, CLOCK),
        plan.known: Known(known, *lost),
        **{place: Depth((waiting or {}).get(place.queue, 0), paused=False) for place in plan.depths},
    }
    readings |= {place: (near or {}).get(place.queue, Elsewhere()) for place in parsed.further_places(readings)}
    return parsed.assess(readings, NOW)


def test_a_usual_answer_is_not_doubtful() -> None:
    for told in (
        judged(trigger()),
        judged(trigger(deployment="shop")),
        judged(trigger(queues="default,mail"), process(pod("shop"), 3, queues=("default", "mail"))),
        judged(trigger(deployment="shop"), process(pod("shop"), 3), process(pod("mail"), 2, queues=("mail",))),
        judged(trigger(queues="new"), process(pod("shop"), queues=("new",))),
        judged(trigger(queues="new"), waiting={"new": 1}),
        judged(trigger(queues="new"), due={"new": (NOW,)}),
        judged(trigger(), process(pod("shop"), quiet=True, queues=("old",))),
        judged(trigger(), known=frozenset(), ghosts=1),
    ):
        assert told.doubts == () or "not in `queues`" in told.doubts[0]
    assert judged(trigger()).doubts == ()


def test_a_redis_that_throws_keys_out_makes_every_answer_doubtful() -> None:
    (doubt,) = judged(trigger(), lost=(12, "volatile-lru")).doubts
    assert doubt.startswith("this Redis has thrown out 12 keys for want of memory, by maxmemory-policy volatile-lru: ")
    assert judged(trigger(), process(pod("shop"), 3), lost=(12, "volatile-lru")).doubts == (doubt,)


@pytest.mark.parametrize(
    ("metadata", "near", "told"),
    [
        ({}, {}, "no Sidekiq has ever used this database: it has neither `queues` nor `processes`; check the database"),
        ({"keyPrefix": "shop"}, {}, "under keyPrefix shop: it has neither"),
        ({"keyPrefix": "shop"}, {"prefixes": ("",)}, "there are queues without a namespace (leave keyPrefix out)"),
        ({}, {"prefixes": ("shop:", "web:")}, "there are queues under keyPrefix shop, web"),
        ({}, {"databases": (1, 3)}, "databases with keys are 1, 3; check the database at the end of the Redis URL"),
        ({}, {"lists": (("bull:default:wait", 7),)}, "7 jobs wait in the list bull:default:wait of Bull, which is not"),
        ({}, {"lists": (("default", 7),)}, "7 jobs wait in the list default of Celery or another system, which is not"),
    ],
)
def test_database_without_sidekiq(metadata: dict[str, str], near: dict[str, Any], told: str) -> None:
    found = judged(trigger(**metadata), known=frozenset(), near={"default": Elsewhere(**near)})
    assert not found.active
    assert len(found.doubts) == 1
    assert told in found.doubts[0]
    assert found.reasons == ("no job waits, is under way or falls due soon", *found.doubts)


@pytest.mark.parametrize(
    ("queue", "known", "nearest"),
    [
        ("Default", {"default", "mail"}, "default"),
        ("defualt", {"default", "mail"}, "default"),
        ("shop:default", {"default", "mail"}, "default"),
        ("default", {"shop:default", "mail"}, "shop:default"),
        ("shop_default", {"default"}, "default"),
        ("xyz", {"default", "mail"}, None),
    ],
)
def test_queue_that_sidekiq_does_not_know(queue: str, known: set[str], nearest: str | None) -> None:
    found = judged(trigger(queues=queue), known=frozenset(known))
    assert not found.active
    (doubt,) = found.doubts
    assert f"queue {queue} is not in `queues`" in doubt
    assert f"there are {', '.join(sorted(known))}" in doubt
    assert (f"did you mean {nearest}?" in doubt) if nearest else ("did you mean" not in doubt)
    if nearest:
        assert judged(trigger(queues=nearest), known=frozenset(known)).doubts == ()
    assert doubt in found.reasons


def test_queue_of_bull_and_the_queues_that_processes_fetch_are_told() -> None:
    other = process(pod("web"), queues=("web_default",))
    found = judged(
        trigger(queues="web-default"),
        other,
        known=USED,
        near={"web-default": Elsewhere(lists=(("bull:web-default:wait", 2),))},
    )
    assert "did you mean web_default?" in found.doubts[0]
    assert "2 jobs wait in the list bull:web-default:wait of Bull" in found.doubts[0]


def test_many_strange_queues_are_counted() -> None:
    found = judged(trigger(queues=",".join(f"x{number}" for number in range(20))))
    assert len(found.doubts) == 9
    assert found.doubts[-1] == "12 more queues are not in `queues` either"


def test_names_that_may_not_be_read_are_no_doubt_but_told() -> None:
    found = judged(trigger(queues="whatever"), known=None)
    assert found.doubts == ()
    notes = {component.name: component.note for component in found.components}
    assert "may not be read" in notes["known queues"]


def test_queue_that_no_process_of_a_running_workload_fetches() -> None:
    live = process(pod("shop"), queues=("critical", "default"))
    found = judged(trigger(queues="default,mail", deployment="shop"), live, waiting={"mail": 3})
    assert found.active
    assert found.metrics[0].value == 0
    assert found.doubts == (
        (
            "no process fetches mail, although processes of this workload run; they fetch critical, default: "
            "check queues, and `-q` or `:queues:` of Sidekiq"
        ),
    )
    other = process(pod("other"), queues=("mail",))
    assert judged(trigger(queues="default,mail", deployment="shop"), live, other, waiting={"mail": 3}).doubts == ()
    strange = process(pod("shop", 1), info=None)
    assert judged(trigger(queues="default,mail", deployment="shop"), live, strange, waiting={"mail": 3}).doubts == ()


# Busy processes that are not chosen

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


def test_explain_tells_who_fetches_and_what_there_is() -> None:
    found = judged(trigger(queues="default,mail"), process(pod("shop")), process("batch-0"), process(pod("shop", 2)))
    notes = {component.name: component.note for component in found.components}
    assert notes["waiting in default"] == "fetched by 3 processes of batch, shop"
    assert notes["waiting in mail"] == "no process fetches it now"
    assert notes["known queues"] == "default, mail"
