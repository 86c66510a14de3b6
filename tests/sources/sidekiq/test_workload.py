from typing import Any

import pytest

from scaler.sources.sidekiq.fleet import Processes, deployment_of
from scaler.sources.sidekiq.info import Capsule, Info
from scaler.sources.sidekiq.state import Process
from scaler.sources.sidekiq.workload import Selection, Workload, compile_pattern, workload_of


def info(**changes: Any) -> Info:
    told = {"tag": "shop", "labels": ["a"], "queues": ["default"], "capsules": (), "concurrency": 5, **changes}
    return Info(told["tag"], frozenset(told["labels"]), frozenset(told["queues"]), told["capsules"], 5)


def process(hostname: str = "shop-6d4cf56db6-x7k2p", told: Info | None = info(), **changes: Any) -> Process:  # noqa: B008 - frozen
    fields = {"busy": 2, "concurrency": 5, "quiet": False, "late": False, **changes}
    return Process(identity=f"{hostname}:1:0123456789ab", info=told, **fields)


def work(selection: Selection, *live: Process) -> Workload:
    return workload_of(Processes(live), selection)


DEFAULT = Selection(queues=frozenset({"default"}))

# Which processes


@pytest.mark.parametrize(
    ("hostname", "deployment"),
    [
        ("shop-6d4cf56db6-x7k2p", "shop"),
        ("shop-sidekiq-mail-6d4cf56db6-x7k2p", "shop-sidekiq-mail"),
        ("shop.v2-6d4cf56db6-x7k2p", "shop.v2"),
        ("shop-0", None),
        ("shop-6d4cf56db6-x7k2pq", None),
        ("shop-6d4cf56db6cc-x7k2p", None),
        ("6d4cf56db6-x7k2p", None),
        ("shop-6D4CF56DB6-x7k2p", None),
        ("shop-6d4cf56db6-x7k2p\n", None),
        ("vm", None),
    ],
)
def test_deployment_of_a_pod(hostname: str, deployment: str | None) -> None:
    assert deployment_of(hostname) == deployment


MAIL = process(
    "shop-mail-6d4cf56db6-x7k2p", info(tag="mail", labels=["b", "slow"], queues=["mail", "low"]), concurrency=2
)
SHOP = process(concurrency=1)


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(deployment="shop"), 1),
        (Selection(deployment="shop-mail"), 2),
        (Selection(deployment="sho"), 0),
        (Selection(deployment=""), 0),
        (Selection(hostname_regex="^shop-"), 3),
        (Selection(hostname_regex="mail"), 2),
        (Selection(hostname_regex="^mail"), 0),
        (Selection(tag="mail"), 2),
        (Selection(tag="mai"), 0),
        (Selection(label="slow"), 2),
        (Selection(label="slo"), 0),
        (Selection(queues=frozenset({"mail"})), 2),
        (Selection(queues=frozenset({"low", "default"})), 3),
        (Selection(queues=frozenset({"reports"})), 0),
        (Selection(hostname_regex="shop", tag="mail"), 2),
        (Selection(deployment="shop", tag="mail"), 0),
        (Selection(tag="mail", label="a"), 0),
        (Selection(capsule="default"), 0),
    ],
)
def test_everything_given_must_fit_and_none_is_no_process(selection: Selection, chosen: int) -> None:
    """`chosen` adds 1 for the shop's process, whose threads are 1, and 2 for the mail's."""
    assert work(selection, SHOP, MAIL).concurrency == chosen


def test_several_processes_of_one_host_are_summed() -> None:
    twins = [Process(f"web:1:{nonce}", info(), 2, 5, quiet=False, late=False) for nonce in ("a", "b")]
    assert work(DEFAULT, *twins) == Workload(
        processes=2, busy=4, concurrency=10, held=4, threads_reported=10, reporting=2
    )


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a{1001}", "x" * 501])
def test_pattern_that_is_wrong_or_dear_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"RE2|500 characters"):
        compile_pattern(pattern)


def test_pattern_that_would_stop_other_engines_takes_no_time() -> None:
    assert work(Selection(hostname_regex="^(a+)+$"), process("a" * 250 + "!")) == Workload()


# What they amount to


def test_quiet_and_late_processes_are_no_capacity_but_hold() -> None:
    workload = work(DEFAULT, process(), process(quiet=True, busy=1), process(late=True, busy=4), process(late=True))
    assert workload == Workload(
        processes=1, busy=2, concurrency=5, quiet=1, late=2, held=9, threads_reported=20, reporting=4
    )


def test_busy_may_exceed_threads() -> None:
    assert work(DEFAULT, process(busy=9)) == Workload(
        processes=1, busy=9, concurrency=5, held=9, threads_reported=5, reporting=1
    )


@pytest.mark.parametrize(
    ("strange", "expected"),
    [
        (process(concurrency=None), Workload(unclear=1, unclear_busy=2, held=2)),
        (process(busy=None), Workload(unclear=1, doubtful=1, threads_reported=5, reporting=1)),
        (process(busy=None, quiet=True), Workload(quiet=1, doubtful=1, threads_reported=5, reporting=1)),
        (process(told=None), Workload(doubtful=1)),
        (process(told=None, busy=None), Workload(doubtful=1)),
        (process(told=None, busy=0), Workload()),
    ],
    ids=["threads", "busy", "busy of a quiet one", "info", "info and busy", "info of an idle one"],
)
def test_process_that_cannot_be_understood_is_skipped_but_may_hold(strange: Process, expected: Workload) -> None:
    assert work(DEFAULT, strange) == expected
    beside = work(DEFAULT, strange, process())
    assert (beside.processes, beside.busy, beside.concurrency) == (1, 2, 5)
    assert beside.doubtful == expected.doubtful


def test_host_name_is_known_without_info() -> None:
    strange = process(told=None)
    assert work(Selection(deployment="shop"), strange) == Workload(1, 2, 5, held=2, threads_reported=5, reporting=1)
    assert work(Selection(deployment="mail"), strange) == Workload()
    assert work(Selection(deployment="shop", tag="shop"), strange) == Workload(doubtful=1)
    assert work(Selection(deployment="mail", tag="shop"), strange) == Workload()


SLOW = Capsule("slow", 2, frozenset({"mail", "low"}))
SPLIT = info(queues=["default", "mail", "low"], capsules=(Capsule("default", 5, frozenset({"default"})), SLOW))
CAPSULE = Selection(capsule="slow")


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            process(told=SPLIT, busy=4, concurrency=7, jobs=(("default", 3), ("mail", 1))),
            Workload(1, 1, 2, held=1, threads_reported=2, reporting=1),
        ),
        (
            process(told=SPLIT, busy=3, concurrency=7, jobs=(("default", 3),)),
            Workload(1, 0, 2, threads_reported=2, reporting=1),
        ),
        (
            process(told=SPLIT, busy=4, concurrency=7, jobs=(("default", 3),)),
            Workload(1, 0, 2, doubtful=1, threads_reported=2, reporting=1),
        ),
        (
            process(told=SPLIT, busy=0, concurrency=7, jobs=(("mail", 1),)),
            Workload(1, 1, 2, held=1, threads_reported=2, reporting=1),
        ),
        (process(told=SPLIT, busy=4, concurrency=7, jobs=None), Workload(unclear=1, doubtful=1)),
        (process(told=SPLIT, busy=None, concurrency=7, jobs=()), Workload(unclear=1, doubtful=1)),
        (
            process(told=SPLIT, quiet=True, busy=1, jobs=(("low", 1),)),
            Workload(quiet=1, held=1, threads_reported=2, reporting=1),
        ),
        (process(told=info(), busy=1, jobs=()), Workload()),
        (process(told=None, busy=1, jobs=()), Workload(doubtful=1)),
    ],
    ids=[
        "its jobs by queue",
        "jobs of others",
        "a job that nobody explains",
        "a job newer than the beat",
        "jobs not read",
        "busy not understood",
        "quiet",
        "process without it",
        "process without info",
    ],
)
def test_capsule_has_its_own_threads_and_the_jobs_of_its_queues(part: Process, expected: Workload) -> None:
    assert work(CAPSULE, part) == expected


def test_workload_is_worked_out_once_for_each_reading() -> None:
    processes = Processes((process(),))
    assert workload_of(processes, DEFAULT) is workload_of(processes, Selection(queues=frozenset({"default"})))
    assert Processes((process(),)) == processes
