"""`top` as it is run: in a pipe, and on a real terminal, which is afterwards as it was."""

import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader
from scaler.server.app import Server
from scaler.settings import Settings

SCALER = Path(sys.executable).with_name("scaler")


@pytest.fixture
async def server(clock: ManualClock, scripted_source: None) -> AsyncIterator[Server]:
    """Serve one trigger that was asked and one that fails."""
    reader = ScriptedReader(clock)
    made = Server(Settings.model_validate({"listen": "127.0.0.1:0", "http": "127.0.0.1:0"}), clock, [reader])
    await made.start()
    made.registry.find("shop", "orders", {"source": "scripted", "spots": "a"})
    made.registry.find("bank", "ledger", {"source": "scripted", "spots": "b"})
    yield made
    await made.close()


async def test_in_a_pipe_it_is_one_table(server: Server) -> None:
    ran = await asyncio.to_thread(
        subprocess.run,
        [SCALER, "top", "--address", f"127.0.0.1:{server.http_port}", "--search", "orders"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "1 of 2 triggers" in ran.stdout
    assert "shop/orders" in ran.stdout
    assert "bank/ledger" not in ran.stdout
    assert "\x1b" not in ran.stdout


class Terminal:
    """`scaler top` on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        main, self._side = pty.openpty()
        fcntl.ioctl(self._side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self._side)
        self._main, self.seen = main, ""
        self.process = subprocess.Popen(
            [SCALER, "top", *arguments],
            stdin=self._side,
            stdout=self._side,
            stderr=self._side,
            env={**os.environ, "TERM": "xterm-256color"},
        )

    def until(self, text: str) -> None:
        end = time.monotonic() + 30
        while text not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen):
            assert time.monotonic() < end, self.seen
            if select.select([self._main], [], [], 0.2)[0]:
                self.seen += os.read(self._main, 65_536).decode(errors="ignore")

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self._main, text.encode())

    def ended(self) -> int:
        end = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self._main], [], [], 0.2)[0]:
                self.seen += os.read(self._main, 65_536).decode(errors="ignore")
        code = self.process.wait(1)
        assert termios.tcgetattr(self._side) == self.before, "the terminal is as it was"
        return code


async def test_on_a_terminal_keys_lead_around_and_q_ends_it(server: Server) -> None:
    def play() -> int:
        terminal = Terminal("--address", f"127.0.0.1:{server.http_port}")
        terminal.until("bank/ledger")
        terminal.type("/orders\r")
        terminal.until("1 of 2 triggers")
        terminal.type("\r")
        terminal.until("streams: 0")
        terminal.type("\x1b")
        terminal.until("VALUE / TARGET")
        terminal.type("q")
        code = terminal.ended()
        assert "\x1b[?1049l" in terminal.seen, "the screen that was there before is shown again"
        return code

    assert await asyncio.to_thread(play) == 0


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 143), pytest.param("\x03", 0, marks=pytest.mark.slow)])
async def test_it_ends_cleanly_however_it_ends(server: Server, how: str | signal.Signals, code: int) -> None:
    def play() -> int:
        terminal = Terminal("--address", f"127.0.0.1:{server.http_port}")
        terminal.until("bank/ledger")
        if isinstance(how, str):
            terminal.type(how)
        else:
            terminal.process.send_signal(how)
        ended = terminal.ended()
        assert "Traceback" not in terminal.seen
        return ended

    assert await asyncio.to_thread(play) == code
