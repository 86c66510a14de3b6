"""Prints an advice for people, and makes its JSON."""

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console

from scaler.commands.advice.goal import Goal
from scaler.commands.advice.levers import Lever
from scaler.commands.advice.search import FEW_JOBS, REPLAYS, Advice
from scaler.commands.reporting import span, table
from scaler.commands.wording import moment


def as_json(advice: Advice, used: Iterable[Lever], goal: Goal, patch: str, price: float | None) -> dict[str, Any]:
    """Return the whole advice as plain data; `price` is that of a replica-hour."""
    check = advice.check
    return {
        "goal": goal.text,
        "met": advice.met,
        "missed": advice.missed,
        "changes": [{"setting": name, "now": now, "then": then} for name, now, then in _changes(advice, used)],
        "now": advice.now.summary(price),
        "then": advice.then.summary(price),
        "check": check and {"from": check.start, "to": check.end, "jobs": check.jobs, "missed": check.missed},
        "replays": None if advice.replays is None else {"met": advice.replays, "of": REPLAYS},
        "otherBounds": advice.bounds or None,
        "settingsTried": advice.runs,
        "patch": patch,
    }


def show(console: Console, advice: Advice, used: Iterable[Lever], goal: Goal, price: float | None) -> None:
    """Print the advice without the patch."""
    for line in _verdict(advice, goal):
        console.print(line, soft_wrap=True)
    console.print()
    console.print(f"The whole history, {span(advice.now)}:", soft_wrap=True)
    console.print(table([("now", advice.now), ("then", advice.then)], price))
    console.print()
    for line in (*_sureness(advice), f"{advice.runs} settings were tried."):
        console.print(line, soft_wrap=True)
    changes = _changes(advice, used)
    if changes:
        console.print()
    for name, now, then in changes:
        console.print(f"{name}: {_written(now)} → {_written(then)}", soft_wrap=True)


def _verdict(advice: Advice, goal: Goal) -> Iterator[str]:
    spec = advice.subject.scaled_object
    name = f"{spec.namespace}/{spec.name}"
    if advice.met and not advice.settings:
        yield f"{name} meets {goal.text} as it is, and nothing that was tried is cheaper."
    elif advice.met:
        yield f"{name} meets {goal.text} with these settings, the cheapest of those that were tried."
    else:
        yield f"{name} meets {goal.text} with none of the settings that were tried; these come closest."
        yield from (f"  missed: {line}" for line in advice.missed)
    if not advice.met and advice.bounds:
        yield f"  With {advice.bounds} as well it would be met. The bounds are yours: the patch leaves them."


def _sureness(advice: Advice) -> Iterator[str]:
    check, start = advice.check, advice.now.grid.start
    if check is not None:
        part = f"from {moment(check.start, start)} to {moment(check.end, start)}"
        if check.missed:
            yield f"NOT SURE. Settings tuned on the rest of the history miss the goal {part}: {'; '.join(check.missed)}."
            yield "These are therefore tuned on all of it, and nothing is left to check them on. A longer history helps."
        elif check.jobs is not None and check.jobs < FEW_JOBS:
            yield f"NOT SURE. The part that they were not tuned on, {part}, has only {check.jobs} jobs."
        else:
            yield f"Checked: they meet the goal {part} too, which they were not tuned on."
    if advice.replays is not None:
        sure = "" if advice.replays * 2 > REPLAYS else "NOT SURE. "
        yield f"{sure}With other random arrivals and service times they meet it in {advice.replays} of {REPLAYS} replays."


def _changes(advice: Advice, used: Iterable[Lever]) -> list[tuple[str, Any, Any]]:
    return [
        (lever.name, lever.now(advice.before.scaled_object), advice.settings[lever.name])
        for lever in used
        if lever.name in advice.settings
    ]


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{_policy(each)} in {each['periodSeconds']} s" for each in value)
    return "not set" if value is None else str(value)


def _policy(policy: dict[str, Any]) -> str:
    return f"{policy['value']} %" if policy["type"] == "Percent" else f"{policy['value']} pods"
