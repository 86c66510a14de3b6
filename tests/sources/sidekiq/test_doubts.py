from typing import Any

import pytest

from scaler.sources.sidekiq.known_queues import Elsewhere
from tests.sources.sidekiq.judging import NOW, USED, judged, pod, process, trigger


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


def test_explain_tells_who_fetches_and_what_there_is() -> None:
    found = judged(trigger(queues="default,mail"), process(pod("shop")), process("batch-0"), process(pod("shop", 2)))
    notes = {component.name: component.note for component in found.components}
    assert notes["waiting in default"] == "fetched by 3 processes of batch, shop"
    assert notes["waiting in mail"] == "no process fetches it now"
    assert notes["known queues"] == "default, mail"
