"""The state of `top` and the effect of each key. Pure; the server searches, filters, sorts and pages."""

import re
from dataclasses import dataclass, replace
from typing import Literal

from scaler.core.errors import ScalerError
from scaler.observe.page.rows import SORTS, STATES

COLUMNS = tuple(SORTS)
Mode = Literal["table", "detail", "search", "help", "quit"]


class TopError(ScalerError):
    """An option of `top` is wrong."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Query:
    """The query for rows, as on the status page."""

    text: str = ""
    state: str = ""
    sort: str = "state"
    page: int = 1

    def check(self) -> None:
        """Raise `TopError` for an unknown state or column."""
        if self.state not in {"", *STATES}:
            raise TopError(f"--state {self.state}: must be one of {', '.join(STATES)}")
        if self.sort.removeprefix("-") not in COLUMNS:
            raise TopError(
                f"--sort {self.sort}: must be one of {', '.join(COLUMNS)}, with - before it the other way round"
            )

    def parameters(self, limit: int) -> dict[str, str]:
        """Return the parameters of `/api/scaledobjects`."""
        given = {"q": self.text, "state": self.state, "sort": self.sort, "page": str(self.page), "limit": str(limit)}
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Shape:
    """The limits of moving: rows of this page, pages, lines of the detail, lines of the screen, states with rows."""

    rows: int = 0
    pages: int = 1
    lines: int = 0
    height: int = 24
    states: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """The state of the screen. `typed` is the search while it is being typed, `scroll` the first line of the detail."""

    query: Query = Query()
    mode: Mode = "table"
    selected: int = 0
    scroll: int = 0
    typed: str = ""
    paused: bool = False

    def within(self, shape: Shape) -> "View":
        """Return the view with its position within `shape`."""
        return replace(
            self,
            selected=max(0, min(self.selected, shape.rows - 1)),
            scroll=max(0, min(self.scroll, shape.lines - 1)),
            query=replace(self.query, page=max(1, min(self.query.page, shape.pages))),
        )


def press(view: View, key: str, shape: Shape) -> View:
    """Return the view after `key`, a character or a name that `keys` returns."""
    if key == "ctrl-c":
        return replace(view, mode="quit")
    if view.mode == "search":
        return _type(view, key)
    if view.mode == "help":
        return replace(view, mode="table")
    if view.mode == "detail":
        return _read_detail(view, key, shape).within(shape)
    return _in_table(view, key, shape).within(shape)


def _type(view: View, key: str) -> View:
    if key == "enter":
        return replace(view, mode="table", selected=0, query=replace(view.query, text=view.typed.strip(), page=1))
    if key == "escape":
        return replace(view, mode="table", typed=view.query.text)
    if key == "backspace":
        return replace(view, typed=view.typed[:-1])
    if key == "ctrl-u":
        return replace(view, typed="")
    return replace(view, typed=view.typed + key) if len(key) == 1 and key.isprintable() else view


_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1}


def _read_detail(view: View, key: str, shape: Shape) -> View:  # noqa: PLR0911 - one line for each key
    page = max(1, shape.height - 3)
    match key:
        case "escape" | "backspace" | "left" | "h" | "q" | "enter":
            return replace(view, mode="table", scroll=0)
        case "up" | "k" | "down" | "j":
            return replace(view, scroll=view.scroll + _STEPS[key])
        case "pagedown":
            return replace(view, scroll=min(view.scroll + page, max(0, shape.lines - page)))
        case "pageup":
            return replace(view, scroll=view.scroll - page)
        case "home" | "g":
            return replace(view, scroll=0)
        case "end" | "G":
            return replace(view, scroll=max(0, shape.lines - page))
        case " ":
            return replace(view, paused=not view.paused)
    return view


def _in_table(view: View, key: str, shape: Shape) -> View:  # noqa: PLR0911 - one line for each key
    query = view.query
    match key:
        case "q":
            return replace(view, mode="quit")
        case "?":
            return replace(view, mode="help")
        case "/":
            return replace(view, mode="search", typed=query.text)
        case "enter" | "right" | "l":
            return replace(view, mode="detail", scroll=0) if shape.rows else view
        case " ":
            return replace(view, paused=not view.paused)
        case "escape":
            return replace(view, selected=0, typed="", query=Query(sort=query.sort))
        case "f" | "F":
            return _turned(view, state=_next(("", *shape.states), query.state, 1 if key == "f" else -1))
        case "s" | "S":
            return _turned(view, sort=_next(COLUMNS, query.sort.removeprefix("-"), 1 if key == "s" else -1))
        case "r":
            return _turned(view, sort=query.sort[1:] if query.sort.startswith("-") else f"-{query.sort}")
    return _moved(view, key, shape)


def _turned(view: View, **changes: str) -> View:
    return replace(view, selected=0, query=replace(view.query, page=1, **changes))


def _next(values: tuple[str, ...], present: str, step: int) -> str:
    if present not in values:
        return values[0]
    return values[(values.index(present) + step) % len(values)]


def _moved(view: View, key: str, shape: Shape) -> View:  # noqa: PLR0911 - one line for each key
    page, last = view.query.page, shape.rows - 1
    if key in _STEPS:
        row = view.selected + _STEPS[key]
        if row > last and page < shape.pages:
            return replace(view, selected=0, query=replace(view.query, page=page + 1))
        if row < 0 and page > 1:
            return replace(view, selected=shape.height, query=replace(view.query, page=page - 1))
        return replace(view, selected=row)
    match key:
        case "pagedown" if page < shape.pages:
            return replace(view, query=replace(view.query, page=page + 1))
        case "pagedown":
            return replace(view, selected=last)
        case "pageup" if page > 1:
            return replace(view, query=replace(view.query, page=page - 1))
        case "pageup":
            return replace(view, selected=0)
        case "home" | "g":
            return replace(view, selected=0, query=replace(view.query, page=1))
        case "end" | "G":
            return replace(view, selected=shape.height, query=replace(view.query, page=shape.pages))
    return view


_SEQUENCES = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "1~": "home",
    "4~": "end",
    "5~": "pageup",
    "6~": "pagedown",
    "7~": "home",
    "8~": "end",
}
_SINGLE = {
    "\r": "enter",
    "\n": "enter",
    "\x1b": "escape",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x03": "ctrl-c",
    "\x04": "ctrl-c",
    "\x15": "ctrl-u",
}
_KEY = re.compile(r"\x1b[\[O]([0-9;]*[A-Za-z~])|(\x1b)\x1b|(.)", re.DOTALL)


def keys(text: str) -> list[str]:
    """Return the keys in `text`, which a terminal has sent: printable characters as they are, others by name."""
    found: list[str] = []
    for sequence, twice, single in _KEY.findall(text):
        if sequence:
            plain = sequence if sequence.endswith("~") else sequence[-1]  # modifiers (1;5A) are ignored
            found.append(_SEQUENCES.get(plain, ""))
        else:
            found.append(_SINGLE.get(twice or single, single if single.isprintable() else ""))
    return [key for key in found if key]
