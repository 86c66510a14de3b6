"""The command `explain --at`: gets from the servers' journals what KEDA was told at a moment, and prints it."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import typer
from rich.console import Console

from scaler.commands.forward import Kubectl, run
from scaler.commands.journal import Frame, Journal, lines, then
from scaler.commands.moments import moment, seconds, shown
from scaler.commands.page_api import ApiError, api_at
from scaler.commands.reach import Reach, pages_of
from scaler.observe.page.words import duration


@dataclass(frozen=True, slots=True)
class Asked:
    """The ScaledObject or ScaledJob to look up in the journal; without `name`, all of the namespace."""

    namespace: str
    name: str | None


def frame_of(at: str, around: str, now: float, zone: tzinfo | None = None) -> Frame:
    """Parse --at and --around at the current time `now`; raises `MomentError`."""
    return Frame(moment(at, now, zone), seconds(around, "--around"), zone)


def run_at(frame: Frame, owners: Sequence[Asked], reach: Reach, kubectl: Kubectl, *, as_json: bool) -> int:
    """Print what KEDA was told then, and return the exit code: 1 if a trigger failed then, or nothing is known."""
    now = time.time()
    found = run(_journals(owners, frame, reach, kubectl))
    if as_json:
        typer.echo(json.dumps([_plain(asked, frame, journals) for asked, journals in found], indent=2, allow_nan=False))
    else:
        _print(Console(), found, frame, now)
    return exit_code((journal for _, journals in found for journal in journals), frame.at)


Found = list[tuple[Asked, list[Journal]]]


async def _journals(owners: Sequence[Asked], frame: Frame, reach: Reach, kubectl: Kubectl) -> Found:
    async with pages_of(reach, kubectl, each=True) as pages:
        return [
            (asked, list(await asyncio.gather(*(_journal(asked, frame, reach, *page) for page in pages))))
            for asked in owners
        ]


async def _journal(asked: Asked, frame: Frame, reach: Reach, server: str, address: str) -> Journal:
    # Up to now, because a silence is noted when it ends.
    query = {"namespace": asked.namespace, "from": f"{frame.at - frame.around:.3f}"}
    if asked.name is not None:
        query["name"] = asked.name
    async with api_at(address, reach.token_file, reach.tls.ca) as api:
        answer = await api.get("api/journal", query)
        try:
            return Journal.of(answer, server)
        except (KeyError, TypeError):
            raise ApiError(f"{api.url}: its journal has another form; is the server of another version?") from None


def _print(console: Console, found: Found, frame: Frame, now: float) -> None:
    say: Callable[[str], None] = lambda text: console.print(text, highlight=False, emoji=False, soft_wrap=True)  # noqa: E731 - short
    say(f"[bold]{shown(frame.at, frame.zone)}[/bold], {duration(now - frame.at)} ago")
    for asked, journals in found:
        if asked.name is None and not any(journal.triggers for journal in journals):
            say(f"namespace {asked.namespace}:")
        elif asked.name is not None:
            say(f"{asked.namespace}/{asked.name}:")
        for journal in journals:
            for line in lines(journal, frame):
                say(line)


def _plain(asked: Asked, frame: Frame, journals: Sequence[Journal]) -> dict[str, Any]:
    return {
        "namespace": asked.namespace,
        "name": asked.name,
        "at": frame.at,
        "from": frame.at - frame.around,
        "to": frame.at + frame.around,
        "servers": [
            {
                "server": journal.server,
                "since": journal.since,
                "omitted": journal.omitted,
                "triggers": [_trigger(trigger, journal, frame) for trigger in journal.triggers],
            }
            for journal in journals
        ],
    }


def _trigger(trigger: Any, journal: Journal, frame: Frame) -> dict[str, Any]:
    was = then(trigger, frame.at)
    silence = None if was.silence is None else {"since": was.silence[0], "until": was.silence[1]}
    return {
        **trigger,
        "state": "unknown" if frame.at < journal.since else was.word,
        "then": {
            "state": was.state,
            "value": was.value,
            "fault": was.fault,
            "stream": was.stream,
            "refused": was.refused,
            "silence": silence,
        },
        "events": [event for event in trigger["events"] if frame.holds(event["at"])],
    }


def exit_code(journals: Any, at: float) -> int:
    """Return 1 if a trigger failed at `at`, or no trigger is known; else 0."""
    words = [then(trigger, at).word for journal in journals if at >= journal.since for trigger in journal.triggers]
    return 1 if "error" in words or not set(words) - {"unknown"} else 0
