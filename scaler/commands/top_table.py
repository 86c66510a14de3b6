"""Draws the screen of `top`: rows of the API as a table that fits the terminal. Pure."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from scaler.commands.text import COLOURS, trigger_lines
from scaler.commands.top import View
from scaler.observe.page.rows import STATES
from scaler.observe.page.words import NOTHING, duration, number

WIDE = 110
"""From this width on, the chart of the last hour and the reason have their own columns."""
BLOCKS = "▁▂▃▄▅▆▇█"
COURSE_STEPS = 24
KEYS = "↑↓ move  ⏎ detail  / search  f state  s sort  r reverse  ␣ pause  ? keys  q quit"
HELP = """\
↑ ↓ k j          move
PgUp PgDn        page
Home End g G     first, last
Enter →          detail, and back with Esc or ←
/                search in namespace, name, source and metric
f F              only one state: the next, the one before; after the last, all
s S              sort by the next column, the one before
r                sort the other way round
Esc              no search, no filter
space            stop and go on bringing it up to date
q, Ctrl-C        quit

Trouble comes first: error (KEDA is answered with one), refused (the metadata
is), held (the last answer goes on being told), stale (told by an old reading),
overdue (read late), settling (less is read since trouble, and not told yet),
doubtful (nothing found, where something may be), unknown (not read lately).
"""


@dataclass(frozen=True, slots=True)
class Data:
    """The last answers: of `/api/scaledobjects`, the detail, and the error of the newest call, if it failed."""

    answer: Mapping[str, Any] | None = None
    detail: Mapping[str, Any] | None = None
    journal: tuple[str, ...] = ()
    problem: str = ""

    @property
    def items(self) -> Sequence[Mapping[str, Any]]:
        """The rows of the current page."""
        return self.answer["items"] if self.answer else ()

    @property
    def states(self) -> tuple[str, ...]:
        """The states with rows, the worst first."""
        counts = self.answer["states"] if self.answer else {}
        return tuple(state for state in counts if counts[state])


def state_word(item: Mapping[str, Any]) -> str:
    """Return the worst of a row's states, also of marks such as stale; the page sorts by it, too."""
    marks = [mark for mark in ("stale", "overdue", "doubtful") if item.get(mark)]
    return min([str(item["state"]), *marks], key=lambda word: STATES.index(word) if word in STATES else -1)


def recent(item: Mapping[str, Any]) -> Sequence[float | None]:
    """Return the values of the last hour, oldest first; none for refused metadata."""
    return item["recent"]["series"]["value"] if item["recent"] else ()


def problem_of(item: Mapping[str, Any]) -> str:
    """Return what is wrong with a row, or else the reason of its answer; "" if nothing is known."""
    if item.get("error"):
        return f"{item['error']['code']}: {item['error']['message']}"
    if item.get("held"):
        return f"{item['held']['why']} (held for {duration(item['held']['secondsLeft'])} more)"
    if item.get("fault"):
        return str(item["fault"])
    return "; ".join(item.get("doubts") or item.get("reasons") or ())


def value_of(item: Mapping[str, Any]) -> str:
    """Return value and target of the metric that asks for most, with `…` if there are others."""
    metrics = [metric for metric in item["metrics"] if metric["value"] is not None]
    if not metrics:
        return NOTHING
    most = max(metrics, key=lambda metric: float(metric["value"] / metric["target"]))
    more = " …" if len(item["metrics"]) > 1 else ""
    return f"{number(most['value'])} / {number(most['target'])}{more}"


def course(values: Sequence[float | None], steps: int = COURSE_STEPS) -> str:
    """Return a chart of block characters, oldest first, with the highest value of each step; a gap without values."""
    size = max(1, -(-len(values) // steps))
    slots = [values[at : at + size] for at in range(0, len(values), size)]
    highest = [max((value for value in slot if value is not None), default=None) for slot in slots]
    top = max((value for value in highest if value is not None), default=0.0) or 1.0
    return "".join(" " if value is None else BLOCKS[round(value / top * (len(BLOCKS) - 1))] for value in highest)


def table(items: Sequence[Mapping[str, Any]], width: int, selected: int | None = None, sort: str = "") -> Table:
    """Return the rows as a table of `width` columns; the row `selected` is marked."""
    drawn = Table(box=None, padding=(0, 1, 0, 0), width=width, pad_edge=False, header_style="bold")
    wide = width >= WIDE
    heads = (
        ("state", "STATE", "left", 8),
        ("name", "SCALEDOBJECT", "left", None),
        ("", "SOURCE", "left", 9),
        ("value", "VALUE / TARGET", "right", 15),
        *((("", "LAST HOUR", "left", COURSE_STEPS), ("since", "ACTIVE FOR", "right", 10)) if wide else ()),
        ("age", "READ", "right", 7),
        ("called", "ASKED", "right", 7),
        ("streams", "STR", "right", 3),
        *((("", "WHY", "left", None),) if wide else ()),
    )
    for key, head, side, size in heads:
        mark = "" if key != sort.removeprefix("-") or not key else "↓" if sort.startswith("-") else "↑"
        ratio = None if size else 3 if head == "WHY" else 2
        drawn.add_column(
            f"{head}{mark}"[: size or 99],
            justify="right" if side == "right" else "left",
            width=size,
            ratio=ratio,
            no_wrap=True,
            overflow="ellipsis",
        )
    for index, item in enumerate(items):
        word = state_word(item)
        more = (
            ()
            if not wide
            else (
                Text(course(recent(item))),
                Text(_short(item["activeSince"]) if item["active"] and not item["error"] else NOTHING),
            )
        )
        cells = (
            Text(word, COLOURS.get(word, "yellow")),
            Text(f"{item['namespace']}/{item['name']}"),
            Text(item["source"]),
            Text(value_of(item)),
            *more,
            Text(_short(item["readingAge"])),
            Text(_short(item["lastCall"])),
            Text(str(item["streams"])),
            *((Text(_line(problem_of(item))),) if wide else ()),
        )
        drawn.add_row(*cells, style="reverse" if index == selected else "")
    return drawn


def _line(text: str) -> str:
    return " ".join(text.split())


def _short(seconds: float | None) -> str:
    """Return a duration in one unit, so that it fits a narrow column."""
    if seconds is None:
        return NOTHING
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def summary(data: Data, view: View) -> Text:
    """Return the line above the table: number of rows, their states, and the search."""
    line = Text(no_wrap=True, overflow="ellipsis")
    if data.answer is None:
        return line.append("asking …" if not data.problem else "", "dim")
    line.append(f"{data.answer['matched']:,}", "bold").append(f" of {data.answer['total']:,} triggers")
    for state in STATES:
        if count := data.answer["states"].get(state):
            line.append(" · ", "dim").append(f"{count:,} {state}", COLOURS.get(state, "yellow"))
    if view.query.state:
        line.append(f"  only {view.query.state}", "reverse")
    if view.query.text:
        line.append(f"  /{view.query.text}", "reverse")
    if view.paused:
        line.append("  paused", "reverse")
    return line


def screen(data: Data, view: View, width: int, height: int, server: str) -> RenderableType:
    """Return the whole screen."""
    head = Text(f"scaler top  {server}", "bold", no_wrap=True, overflow="ellipsis")
    trouble = (
        Text(_line(data.problem), "red", no_wrap=True, overflow="ellipsis") if data.problem else summary(data, view)
    )
    if view.mode == "help":
        return Group(head, Text(), Text(HELP), Text("any key: back", "dim"))
    if view.mode == "detail":
        body: list[RenderableType] = [*detail(data, width)[view.scroll : view.scroll + height - 2]]
        rest = Text("↑↓ PgUp PgDn scroll  Esc back  ␣ pause", "dim", no_wrap=True)
        body += [Text()] * (height - 2 - len(body))
        return Group(head if not data.problem else trouble, *body, rest)
    room = rows_that_fit(height)
    body = [table(data.items[:room], width, view.selected, view.query.sort)]
    if data.answer is not None and not data.items:
        nobody = (
            "no trigger matches: Esc shows all" if data.answer["total"] else "no ScaledObject has asked this server yet"
        )
        body.append(Text(nobody, "yellow"))
    filled = 1 + max(len(data.items[:room]), 0 if data.items or data.answer is None else 1)
    blank: list[RenderableType] = [Text()] * max(0, room + 1 - filled)
    return Group(head, trouble, *body, *blank, _about(data, view, width), _foot(data, view))


def rows_that_fit(height: int) -> int:
    """Return the number of rows on a screen of `height` lines, without head, summary, headings, reason and keys."""
    return max(1, height - 6)


def _about(data: Data, view: View, width: int) -> Text:
    """Return the two lines about the selected row."""
    text = _line(problem_of(data.items[view.selected])) if view.selected < len(data.items) else ""
    rows = textwrap.wrap(text, width, max_lines=2, placeholder=" …")
    return Text("\n".join([*rows, "", ""][:2]), "dim", no_wrap=True)


def _foot(data: Data, view: View) -> Text:
    if view.mode == "search":
        return Text(f"search: {view.typed}▏", no_wrap=True, overflow="ellipsis")
    pages = data.answer["pages"] if data.answer else 1
    page = f"page {view.query.page}/{pages}  " if pages > 1 else ""
    return Text(f"{page}{KEYS}", "dim", no_wrap=True, overflow="ellipsis")


def detail(data: Data, width: int) -> list[Text]:
    """Return the lines of the detail, wrapped to `width`."""
    console = Console(width=width)
    return [part for line in _detail(data) for part in Text.from_markup(line, emoji=False).wrap(console, width)]


def _detail(data: Data) -> Iterator[str]:
    if data.detail is None:
        yield "asking …"
        return
    found = data.detail
    yield f"[bold]{escape(found['namespace'])}/{escape(found['name'])}[/bold]"
    for item in found["triggers"]:
        word = state_word(item)
        yield f"{escape(item['source'])}: [{COLOURS.get(word, 'yellow')}]{word}[/]"
        yield from (f"  {line}" for line in trigger_lines(dict(item), served=True))
        yield f"  last hour: {course(recent(item), 60)}"
    yield from data.journal
