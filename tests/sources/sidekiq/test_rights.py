"""The access rules that the documentation gives are enough, needed, and forbid all else."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from scaler.core.domain import Fault
from scaler.demo.valkey import Valkey
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.private_queues import Orphans
from tests.sources.sidekiq.conftest import Heard

Trigger = Callable[..., SidekiqTrigger]
DOCS = Path(__file__).parents[3] / "docs" / "sidekiq.md"


def documented_rules() -> list[str]:
    match = re.search(r"^ACL SETUSER scaler on >PASSWORD (.*)$", DOCS.read_text(), re.MULTILINE)
    assert match
    return match[1].split()


@pytest.fixture
async def grant(valkey: Valkey, redis: Redis, restore: Any) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that gives a user some rules and returns its URL; a process and a queue are there to read."""
    await restore("v8.1.7-02-running.json")
    admin: Any = redis

    async def granted(*rules: str) -> str:
        await admin.execute_command("ACL", "SETUSER", "scaler", "reset", "on", ">canary", *rules)
        return f"redis://scaler:canary@127.0.0.1:{valkey.port}/0"

    yield granted
    await admin.execute_command("ACL", "DELUSER", "scaler")


async def test_documented_rules_are_enough(
    grant: Any, redis: Redis, asking: Any, trigger: Trigger, heard: Heard
) -> None:
    one = asking()
    one.reader.listen(heard.hints.put_nowait)
    url = await grant(*documented_rules())
    mine = trigger(redisURL=url, capsule="default", queues="default,reports", queueLatency="1")
    assert mine.assess(await one.readings(mine), 0).metrics[0].value == pytest.approx(0.6)
    await heard.all_of(mine)
    await redis.lpush("queue:reports", "{}")
    assert "Sidekiq queue reports" in await heard.next(2)
    await one.reader.close()


async def test_super_fetch_needs_one_right_more(grant: Any, redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.lpush("queue:sq|gone:1:0a|default", "{}")
    mine = trigger(redisURL=await grant(*documented_rules(), "+scan"), superFetch="true")
    assert (await asking().readings(mine))[mine.plan.private] == Orphans((("default", 1),))
    found = await asking().outcomes(trigger(redisURL=await grant(*documented_rules()), superFetch="true"))
    assert "may not run SCAN" in str(found[mine.plan.private])


async def test_wrong_names_are_noticed_with_the_documented_rules(grant: Any, asking: Any, trigger: Trigger) -> None:
    mine = trigger(redisURL=await grant(*documented_rules()), queues="Default")
    one = asking()
    readings = await one.readings(mine)
    await one.reader.read(mine.further_places(readings), readings)
    assert "did you mean default?" in mine.assess(readings, 0).doubts[0]


@pytest.mark.parametrize(
    "command",
    [
        ("LPUSH", "queue:default", "{}"),
        ("BRPOP", "queue:default", 1),
        ("SREM", "processes", "vm:3291:1783fcd99025"),
        ("HSET", "vm:3291:1783fcd99025", "busy", 0),
        ("DEL", "schedule"),
        ("GET", "stat:processed"),
        ("SCAN", 0),
        ("CONFIG", "GET", "*"),
        ("FLUSHALL",),
    ],
    ids=lambda command: command[0],
)
async def test_documented_rules_forbid_all_else(grant: Any, command: tuple[Any, ...]) -> None:
    user: Any = Redis.from_url(await grant(*documented_rules()))
    with pytest.raises(NoPermissionError):
        await user.execute_command(*command)
    await user.aclose()


NEEDED = [rule for rule in documented_rules() if rule.startswith("%R") or rule in {"+time", "+pttl", "+hgetall"}]
NEEDED.remove("%R~queues")  # without it a misspelt queue is not noticed, and nothing else is wrong


@pytest.mark.parametrize("rule", NEEDED)
async def test_documented_right_is_needed_and_its_lack_told(
    rule: str, grant: Any, asking: Any, trigger: Trigger
) -> None:
    url = await grant(*(other for other in documented_rules() if other != rule))
    found = await asking().outcomes(trigger(redisURL=url, capsule="default", queueLatency="1"))
    told = [str(outcome) for outcome in found.values() if isinstance(outcome, Fault)]
    assert told
    assert all("/docs/sidekiq.md#the-user-of-the-scaler" in one for one in told)
