"""Runs `top`: a terminal screen that is updated every few seconds; in a pipe, one table."""

import asyncio
import os
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.live import Live

from scaler.commands.forward import Kubectl, run
from scaler.commands.journal import Frame, Journal, lines
from scaler.commands.page_api import Api, ApiError, api_at
from scaler.commands.reach import Reach, ReachError, pages_of
from scaler.commands.top import Query, Shape, View, keys, press
from scaler.commands.top_table import Data, detail, problem_of, rows_that_fit, screen, state_word, summary, table
from scaler.observe.page.rows import TROUBLE

SNAPSHOT_ROWS = 1_000
JOURNAL_SECONDS = 3_600.0


def run_top(reach: Reach, kubectl: Kubectl, query: Query, interval: float, *, once: bool) -> None:
    """Show the server's triggers until the user quits; only once if input or output is no terminal."""
    query.check()
    if reach.http is None and not reach.forward:
        raise ReachError("give --address HOST:PORT of the server's status page, port 9091 by default, or --forward")
    reach.check()
    run(_top(reach, kubectl, query, None if once else interval))


async def _top(reach: Reach, kubectl: Kubectl, query: Query, interval: float | None) -> None:
    console = Console()
    async with pages_of(reach, kubectl) as [(_, address)], api_at(address, reach.token_file, reach.tls.ca) as api:
        if interval is not None and console.is_terminal and sys.stdin.isatty():
            await Screen(api, console, query, interval).show()
        else:
            await snapshot(api, console, query)


async def snapshot(api: Api, console: Console, query: Query) -> None:
    """Print all rows that match, and below them their problems; raises `ApiError`."""
    page = pages = 1
    items: list[Any] = []
    answer: dict[str, Any] = {}
    while page <= pages:
        answer = _checked(api, await api.get("api/scaledobjects", replace(query, page=page).parameters(SNAPSHOT_ROWS)))
        items, page, pages = [*items, *answer["items"]], page + 1, answer["pages"]
    console.print(summary(Data(answer), View(query)), soft_wrap=True)
    console.print(table(items, console.width, sort=query.sort))
    for item in items:
        if state_word(item) in TROUBLE:
            console.print(
                f"{item['namespace']}/{item['name']}: {problem_of(item)}",
                emoji=False,
                highlight=False,
                markup=False,
                soft_wrap=True,
            )


def _checked(api: Api, answer: dict[str, Any]) -> dict[str, Any]:
    if not {"items", "total", "matched", "states", "pages"} <= answer.keys():
        raise ApiError(f"{api.url}: its table has another form; is the server of another version?")
    return answer


class Screen:
    """The screen on a terminal: reads keys, calls the server, draws."""

    def __init__(self, api: Api, console: Console, query: Query, interval: float) -> None:
        """Show the answers of `api` on `console`, first for `query`, and update every `interval` seconds."""
        self._api, self._console, self._interval = api, console, interval
        self._view, self._data = View(query), Data()
        self._wanted = asyncio.Event()  # set to call the server now

    async def show(self) -> None:
        """Run until the user quits, and restore the terminal."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with _raw(sys.stdin.fileno()), Live(console=self._console, screen=True, auto_refresh=False) as drawn:

            def draw() -> None:
                size = self._console.size
                view, server = self._view, str(self._api.url)
                drawn.update(screen(self._data, view, size.width, size.height, server), refresh=True)

            def read() -> None:
                text = os.read(sys.stdin.fileno(), 1024).decode(errors="ignore")
                for key in keys(text) if text else ["ctrl-c"]:
                    self._press(key)
                if self._view.mode == "quit" and not done.done():
                    done.set_result(None)
                draw()

            with _listening(read, draw):
                looking = asyncio.ensure_future(self._look_again(draw))
                try:
                    await asyncio.wait({done, looking}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    looking.cancel()
                    with suppress(asyncio.CancelledError):
                        await looking

    def shape(self) -> Shape:
        """Return the limits of moving."""
        data, size = self._data, self._console.size
        pages = data.answer["pages"] if data.answer else 1
        in_detail = len(detail(data, size.width)) if self._view.mode == "detail" else 0
        return Shape(len(data.items), pages, in_detail, size.height, data.states)

    def _press(self, key: str) -> None:
        before = self._view
        self._view = press(before, key, self.shape())
        if self._view.mode == "detail" and before.mode != "detail":
            self._data = replace(self._data, detail=None, journal=())
        if (self._view.query, self._view.mode, self._view.paused) != (before.query, before.mode, before.paused):
            self._wanted.set()

    async def _look_again(self, draw: Any) -> None:
        while True:
            self._wanted.clear()
            asked = self._view
            if not asked.paused or asked.query != self._asked or asked.mode == "detail":
                await self._look(asked)
                self._view = self._view.within(self.shape())
            draw()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._wanted.wait()

    _asked: Query | None = None

    async def _look(self, view: View) -> None:
        try:
            if view.mode == "detail" and view.selected < len(self._data.items):
                item = self._data.items[view.selected]
                found = await self._detail(item["namespace"], item["name"])
                self._data = replace(self._data, detail=found, problem="", journal=await self._journal(found))
                return
            limit = rows_that_fit(self._console.size.height)
            answer = _checked(self._api, await self._api.get("api/scaledobjects", view.query.parameters(limit)))
        except ApiError as error:  # the old rows stay, with the reason why they are old
            self._data = replace(self._data, problem=str(error))
        else:
            self._asked = view.query
            self._data = replace(self._data, answer=answer, problem="")

    async def _detail(self, namespace: str, name: str) -> dict[str, Any]:
        return await self._api.get(f"api/scaledobjects/{quote(namespace, safe='')}/{quote(name, safe='')}")

    async def _journal(self, found: dict[str, Any]) -> tuple[str, ...]:
        """Return the lines of the journal's last hour; none from a server without a journal."""
        now = time.time()
        query = {"namespace": found["namespace"], "name": found["name"], "from": f"{now - JOURNAL_SECONDS:.3f}"}
        try:
            journal = Journal.of(await self._api.get("api/journal", query))
        except (ApiError, KeyError, TypeError):
            return ()
        return tuple(lines(journal, Frame(now, JOURNAL_SECONDS)))


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Read keys as they are pressed, without echo, and restore the terminal."""
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    mode = termios.tcgetattr(terminal)
    mode[3] &= ~termios.ISIG  # Ctrl-C becomes a key like q; Ctrl-Z would leave the screen as it is
    termios.tcsetattr(terminal, termios.TCSADRAIN, mode)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextmanager
def _listening(read: Any, draw: Any) -> Iterator[None]:
    """Call `read` when there are keys, and `draw` for a new size; SIGTERM and SIGHUP cancel the task."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    loop.add_reader(sys.stdin.fileno(), read)
    loop.add_signal_handler(signal.SIGWINCH, draw)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel if task else loop.stop)
    try:
        yield
    finally:
        loop.remove_reader(sys.stdin.fileno())
        for number in (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
