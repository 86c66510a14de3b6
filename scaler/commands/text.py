"""An explanation as text for people: colours on a terminal, plain in a pipe."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape

COLOURS = {"active": "green", "inactive": "cyan", "error": "red", "unknown": "yellow"}


def show(console: Console, explanation: dict[str, Any]) -> None:
    """Print one explanation."""
    for line in lines(explanation):
        console.print(line, highlight=False, soft_wrap=True)


def lines(owner: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one ScaledObject or ScaledJob, with rich's markup."""
    yield f"[bold]{owner['kind']} {escape(owner['namespace'])}/{escape(owner['name'])}[/bold]  [dim]{escape(owner['file'])}:{owner['line']}[/dim]"
    for trigger in owner["triggers"]:
        yield from _trigger(trigger)
    if owner["otherTriggers"]:
        yield f"  and {owner['otherTriggers']} triggers of other scalers, which are not looked at here"
    scaling = owner["scaling"]
    now = "" if scaling["replicas"] is None else f" (now {scaling['replicas']})"
    yield f"  [bold]replicas[/bold]{now}"
    for line in scaling["lines"]:
        yield f"    {escape(line)}"
    if scaling["desired"] is not None:
        yield f"    [bold]→ {scaling['desired']}[/bold]"
    yield from _warnings(owner["warnings"], "  ")


def _trigger(trigger: dict[str, Any]) -> Iterator[str]:
    state = trigger["state"]
    source = trigger.get("source", "")
    yield f"  trigger {trigger['index']} {escape(trigger['type'])} {escape(source)}: [{COLOURS[state]}]{state}[/]"
    if error := trigger.get("error"):
        yield f"    [red]{error['code']}[/red]: {escape(error['message'])}"
    for reason in trigger.get("reasons", ()):
        yield f"    {escape(reason)}"
    for metric in trigger.get("metrics", ()):
        value = "no value" if metric["value"] is None else f"{metric['value']:g}"
        yield f"    {escape(metric['name'])} = {value}, target {metric['target']:g} ({metric['metricType']})"
    for part in trigger.get("components", ()):
        note = f"  [dim]{escape(part['note'])}[/dim]" if part["note"] else ""
        yield f"      {escape(part['name'])} {part['value']:g} {escape(part['unit'])}{note}"
    if spared := trigger.get("spareBusy"):
        asked = "" if spared["asked"] is None else f"; the metrics ask for {spared['asked']}"
        writing = f", {spared['pending']} deletion costs to write" if spared["writing"] else ""
        yield f"      spareBusy: {spared['busy']} of {spared['pods']} pods are busy{asked}{writing}"
        for problem in spared["problems"]:
            yield f"      [yellow]spareBusy[/yellow]: {escape(problem)}"
    for place in trigger.get("places", ()):
        age = "never read" if place["age"] is None else f"read {place['age']:.1f} s ago"
        fault = (
            f"; [red]failing for {place['faultFor']:.0f} s: {escape(place['fault'])}[/red]" if place["fault"] else ""
        )
        yield f"      [dim]{escape(place['place'])}: {age}[/dim]{fault}"
    if cost := trigger.get("cost"):
        yield (
            f"      [dim]about {cost['requestsPerMonth']:,} requests a month, ${cost['dollarsPerMonth']:,.2f} "
            f"(price of {cost['priceDate']}; shared with all who read the same queues)[/dim]"
        )
    yield from _warnings(trigger["warnings"], "    ")


def _warnings(warnings: list[dict[str, Any]], indent: str) -> Iterator[str]:
    for warning in warnings:
        yield f"{indent}[yellow]warning[/yellow] line {warning['line']} {escape(warning['key'])}: {escape(warning['text'])}"
