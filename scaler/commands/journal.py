"""Prints a server's journal: what KEDA was told at a moment, and the events around it. Pure; see docs/journal.md."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from rich.markup import escape

from scaler.commands.moments import clock_time
from scaler.commands.text import COLOURS
from scaler.observe.page.words import duration

Event = Mapping[str, Any]
STATES = frozenset({"active", "inactive", "settling", "held", "error"})
USUAL_SILENCE_SECONDS = 100.0
"""KEDA polls every `pollingInterval`, 30 s by default; as in the journal, a pause up to this is no silence."""
MOST_EVENTS = 40
"""Events shown around a moment; of more, those nearest to it."""


@dataclass(frozen=True, slots=True)
class Then:
    """The state at a moment, by the newest event of each kind until then; None if nothing is known."""

    state: Event | None = None
    value: Event | None = None
    fault: Event | None = None
    stream: Event | None = None
    refused: Event | None = None
    silence: tuple[float, float | None] | None = None
    """From when and until when KEDA did not ask; None if it has not asked again."""

    @property
    def word(self) -> str:
        """The state in a word, as on the status page."""
        if self.refused is not None:
            return "error"
        return "unknown" if self.state is None else str(self.state["kind"])


def then(trigger: Mapping[str, Any], at: float) -> Then:
    """Return what KEDA was told about `trigger`, an entry of the journal, at Unix time `at`."""
    newest: dict[str, Event] = {}
    for event in trigger["events"]:
        if event["at"] <= at:
            newest[_sort(event)] = event
    refused = newest.get("refused")
    if refused is not None and (at > refused["until"] + USUAL_SILENCE_SECONDS or _newer(newest.get("state"), refused)):
        refused = None
    fault = newest.get("fault")
    return Then(
        state=newest.get("state"),
        value=newest.get("value"),
        fault=None if fault is None or fault["kind"] == "healed" else fault,
        stream=newest.get("stream"),
        refused=refused,
        silence=_silence(trigger, at),
    )


def _sort(event: Event) -> str:
    kind = str(event["kind"])
    if kind in STATES:
        return "state"
    return "fault" if kind == "healed" else kind


def _newer(event: Event | None, than: Event) -> bool:
    return event is not None and event["at"] > than["at"]


def _silence(trigger: Mapping[str, Any], at: float) -> tuple[float, float | None] | None:
    for event in trigger["events"]:
        if event["kind"] == "asked" and event["at"] - event["after"] < at < event["at"]:
            return event["at"] - event["after"], event["at"]
    last = trigger["lastAsked"]
    if last is not None and at - last > USUAL_SILENCE_SECONDS:
        return last, None
    return None


@dataclass(frozen=True, slots=True)
class Frame:
    """The part of a journal to show: a moment, how many seconds around it, and the time zone (None: the machine's)."""

    at: float
    around: float
    zone: tzinfo | None = None

    def time(self, at: float) -> str:
        """Return `at` as text."""
        return clock_time(at, self.at, self.zone)

    def holds(self, at: float) -> bool:
        """Tell whether `at` is within the time around the moment."""
        return abs(at - self.at) <= self.around


@dataclass(frozen=True, slots=True)
class Journal:
    """The answer of one server: `triggers` as in `/api/journal`, complete since `since`; `server` is its name."""

    since: float
    triggers: tuple[Mapping[str, Any], ...]
    omitted: int = 0
    server: str = ""
    now: float = field(default=math.inf)

    @classmethod
    def of(cls, answer: Mapping[str, Any], server: str = "") -> "Journal":
        """Parse an answer of `/api/journal`; raises `KeyError` or `TypeError` for a wrong one."""
        return cls(answer["since"], tuple(answer["triggers"]), answer.get("omitted", 0), server, answer["now"])


def lines(journal: Journal, frame: Frame) -> Iterator[str]:
    """Yield the lines about the moment, in rich's markup."""
    if journal.server:
        yield f"[bold]as told by {escape(journal.server)}[/bold]"
    if frame.at < journal.since:
        yield (
            f"  nothing is known of {frame.time(frame.at)}: this server's journal begins at "
            f"{frame.time(journal.since)}, when it started, or what was older had no more room"
        )
        if frame.at + frame.around < journal.since:
            return
    if not journal.triggers:
        yield "  KEDA has not asked this server about it since then: neither an answer nor a refusal is in its journal"
    for trigger in journal.triggers:
        yield from _trigger(trigger, journal, frame)
    if journal.omitted:
        yield f"  and {journal.omitted} triggers more; give --name to see the others"


def _trigger(trigger: Mapping[str, Any], journal: Journal, frame: Frame) -> Iterator[str]:
    was = then(trigger, frame.at)
    word = "not known" if frame.at < journal.since else was.word
    colour = COLOURS.get(word, "yellow")
    names = ", ".join(spec["name"] for spec in trigger["specs"]) or "metadata that is refused"
    about = f"{trigger['namespace']}/{trigger['name']}"
    yield f"  [bold]{escape(about)}[/bold] {escape(trigger['source'])} {escape(names)}: [{colour}]{word}[/]"
    for line in _was(trigger, was, frame):
        yield f"    {line}"
    around = [event for event in trigger["events"] if frame.holds(event["at"])]
    yield from _timeline(around, trigger, frame, journal.now)


def _was(trigger: Mapping[str, Any], was: Then, frame: Frame) -> Iterator[str]:
    if trigger["lastAsked"] is None:
        yield "[yellow]KEDA has never asked[/yellow] this server about it with this metadata"
    elif was.silence is not None:
        since, until = was.silence
        again = f"asked again at {frame.time(until)}" if until else "has not asked since"
        ago = duration(frame.at - since)
        yield f"[yellow]KEDA had not asked since {frame.time(since)}[/yellow], for {ago}, and {again}"
    if was.refused is not None:
        event = was.refused
        yield f"the metadata was refused: [red]{event['code']}[/red]: {escape(event['message'])}"
    elif was.state is None:
        if trigger["events"]:
            yield f"nothing was told yet; the first is of {frame.time(trigger['events'][0]['at'])}"
    else:
        yield f"since {frame.time(was.state['at'])}: {_said(was.state, trigger)}"
    if was.value is not None and was.word not in {"error", "unknown"}:
        yield f"since {frame.time(was.value['at'])}: {_said(was.value, trigger)}"
    if was.fault is not None and was.word not in {"held", "error"}:
        yield f"since {frame.time(was.fault['at'])}: {_said(was.fault, trigger)}"
    if was.stream is not None:
        yield f"streams: {was.stream['open']}"


def _timeline(events: list[Event], trigger: Mapping[str, Any], frame: Frame, now: float) -> Iterator[str]:
    begin, end = frame.time(frame.at - frame.around), frame.time(min(frame.at + frame.around, now))
    if not events:
        yield f"    nothing changed between {begin} and {end}"
        return
    events.sort(key=lambda event: event["at"])
    near = sorted(events, key=lambda event: abs(event["at"] - frame.at))[:MOST_EVENTS]
    left_out = len(events) - len(near)
    yield f"    between {begin} and {end}{f', {left_out} left out' if left_out else ''}:"
    marked = False
    for event in sorted(near, key=lambda event: event["at"]):
        if event["at"] > frame.at and not marked:
            marked = True
            yield f"      [dim]{frame.time(frame.at)} ← asked for[/dim]"
        yield f"      {frame.time(event['at'])} {_said(event, trigger)}"
    if not marked:
        yield f"      [dim]{frame.time(frame.at)} ← asked for[/dim]"


def _said(event: Event, trigger: Mapping[str, Any]) -> str:
    """Return an event in words."""
    kind = str(event["kind"])
    if kind == "value":
        return ", ".join(_values(event["values"], trigger["specs"]))
    if kind == "asked":
        return f"KEDA asks again, after {duration(event['after'])} of silence"
    fields = {
        **event,
        "message": escape(str(event.get("message", ""))),
        "so": "active" if event.get("active") else "inactive",
    }
    return _WORDS.get(kind, "{kind} {message}").format_map(fields)  # an unknown kind comes from a newer server


_WORDS = {
    "active": "[green]active[/]",
    "inactive": "[cyan]inactive[/]",
    "settling": "[yellow]settling[/], {so}: less is read since trouble, and not told yet",
    "held": "[yellow]held[/], {so}: {message}",
    "error": "[red]{code}[/]: {message}",
    "fault": "[red]a read fails[/]: {message}",
    "healed": "all reads are good again",
    "stream": "streams: {open}",
    "refused": "metadata refused {count} times: [red]{code}[/]: {message}",
}


def _values(values: Iterable[float | None], specs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for value, spec in zip(values, specs, strict=False):
        if value is None:
            yield f"{escape(spec['name'])} has no value"
        else:
            times = value / spec["target"]
            yield f"{escape(spec['name'])} = {value:g}, {times:.3g} times its target {spec['target']:g}"
