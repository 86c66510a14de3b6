"""Prints explanations for people, with colours on a terminal."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape

from scaler.observe.page.words import duration

COLOURS = {
    "active": "green",
    "inactive": "cyan",
    "error": "red",
    "refused": "red",
    "held": "yellow",
    "settling": "yellow",
    "unknown": "yellow",
}


def counted(number: int, thing: str) -> str:
    """Return "1 trigger" or "2 triggers"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def show(console: Console, explanation: dict[str, Any], *, served: bool = False) -> None:
    """Print one explanation; `served`: it comes from a server, which KEDA also calls."""
    for line in lines(explanation, served=served):
        console.print(line, highlight=False, emoji=False, soft_wrap=True)


def lines(owner: dict[str, Any], *, served: bool = False) -> Iterator[str]:
    """Yield the lines of one ScaledObject or ScaledJob, in rich's markup."""
    yield f"[bold]{owner['kind']} {escape(owner['namespace'])}/{escape(owner['name'])}[/bold]  [dim]{escape(owner['file'])}:{owner['line']}[/dim]"
    for trigger in owner["triggers"]:
        yield from _trigger(trigger, served=served)
    if owner["otherTriggers"]:
        yield f"  not looked at here: {counted(owner['otherTriggers'], 'trigger')} of other scalers"
    scaling = owner["scaling"]
    now = "" if scaling["replicas"] is None else f" (now {scaling['replicas']})"
    yield f"  [bold]replicas[/bold]{now}"
    for line in scaling["lines"]:
        yield f"    {escape(line)}"
    if scaling["desired"] is not None:
        yield f"    [bold]→ {scaling['desired']}[/bold]"
    yield from _warnings(owner["warnings"], "  ")


def _trigger(trigger: dict[str, Any], *, served: bool) -> Iterator[str]:
    state = trigger["state"]
    source = f" {trigger['source']}" if trigger.get("source") else ""
    yield f"  trigger {trigger['index']} {escape(trigger['type'])}{escape(source)}: [{COLOURS[state]}]{state}[/]"
    for line in trigger_lines(trigger, served=served):
        yield f"    {line}"
    yield from _warnings(trigger["warnings"], "    ")


def trigger_lines(trigger: dict[str, Any], *, served: bool) -> Iterator[str]:
    """Yield the lines of one trigger; `served`: the explanation comes from a server, which KEDA also calls."""
    yield from _why(trigger)
    for metric in trigger.get("metrics", ()):
        value = "no value" if metric["value"] is None else f"{metric['value']:g}"
        yield f"{escape(metric['name'])} = {value}, target {metric['target']:g} ({metric['metricType']})"
    for part in trigger.get("components", ()):
        note = f"  [dim]{escape(part['note'])}[/dim]" if part["note"] else ""
        yield f"  {escape(part['name'])} {part['value']:g} {escape(part['unit'])}{note}"
    yield from _spared(trigger)
    said, places = set(), [place["place"] for place in trigger.get("places", ())]
    for message in ((trigger.get("error") or {}).get("message"), (trigger.get("held") or {}).get("why")):
        if message is not None:
            said.add(cause(message, places))
    for place in trigger.get("places", ()):
        yield from _place(place, said)
    if cost := trigger.get("cost"):
        yield (
            f"  [dim]about {cost['requestsPerMonth']:,} requests a month, ${cost['dollarsPerMonth']:,.2f} "
            f"(price of {cost['priceDate']}; shared with all who read the same queues)[/dim]"
        )
    if served and "calls" in trigger and trigger["state"] != "refused":
        yield asked(trigger)


def _why(trigger: dict[str, Any]) -> Iterator[str]:
    if error := trigger.get("error"):
        yield f"[red]{error['code']}[/red]: {escape(error['message'])}"
    doubts = trigger.get("doubts", ())  # some are also in the reasons
    for reason in trigger.get("reasons", ()):
        if reason not in doubts:
            yield escape(reason)
    if held := trigger.get("held"):
        yield f"[yellow]held[/yellow] for {duration(held['secondsLeft'])} more (holdSeconds), then KEDA gets UNAVAILABLE"
    for doubt in doubts:
        yield f"[yellow]doubtful[/yellow]: {escape(doubt)}"


def _spared(trigger: dict[str, Any]) -> Iterator[str]:
    if spared := trigger.get("spareBusy"):
        wanted = "" if spared["asked"] is None else f"; the metrics ask for {spared['asked']}"
        writing = f", {spared['pending']} deletion costs to write" if spared["writing"] else ""
        yield f"  spareBusy: {spared['busy']} of {spared['pods']} pods are busy{wanted}{writing}"
        for problem in spared["problems"]:
            yield f"  [yellow]spareBusy[/yellow]: {escape(problem)}"


def asked(trigger: dict[str, Any]) -> str:
    """Return how and when KEDA has asked the server about `trigger`."""
    if not trigger["calls"] or trigger["lastCall"] is None:
        return "[yellow]KEDA has not asked this server[/yellow] about it with this metadata; streams: 0"
    return (
        f"KEDA: {trigger['calls']:,} calls and streams opened, the last {duration(trigger['lastCall'])} ago; "
        f"streams: {trigger['streams']}"
    )


def _place(place: dict[str, Any], said: set[str]) -> Iterator[str]:
    """Yield the lines of one place; a fault whose cause is already in `said` is left out, others are added to it."""
    age = "never read" if place["age"] is None else f"read {place['age']:.1f} s ago"
    proof = f" ({escape(place['proof'])})" if place.get("proof") else ""
    line = f"  [dim]{escape(place['place'])}: {age}{proof}[/dim]"
    if place["fault"]:
        why = cause(place["fault"], [place["place"]])
        text = place["fault"].removeprefix(f"{place['place']}: ")
        line += f"; [red]failing for {duration(place['faultFor'])}{', as above' if why in said else f': {escape(text)}'}[/red]"
        said.add(why)
    yield line


def cause(message: str, places: Iterable[str]) -> str:
    """Return the cause in `message` without the names of places, so that equal causes are equal.

    A refusal of AWS, for example, names its queue, and is otherwise the same for each queue.
    """
    for place in places:
        if message.startswith(f"{place}: "):
            message = message.removeprefix(f"{place}: ")
            for word in sorted(set(re.findall(r"[\w.-]{3,}", place)), key=lambda word: (-len(word), word)):
                message = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", "…", message)
            break
    return message


def _warnings(warnings: list[dict[str, Any]], indent: str) -> Iterator[str]:
    for warning in warnings:
        yield f"{indent}[yellow]warning[/yellow] line {warning['line']} {escape(warning['key'])}: {escape(warning['text'])}"
