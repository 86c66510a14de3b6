"""Redis servers and Sentinels as processes that tests can kill and freeze."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from scaler.demo.valkey import binary

START_SECONDS = 10.0


def server_binary() -> Path | None:
    """Return Debian's redis-server, else Valkey's; None without either."""
    found = shutil.which("redis-server")
    if found is not None:
        return Path(found)
    with contextlib.suppress(OSError, RuntimeError):
        return binary()
    return None


def free_port(host: str) -> int:
    """Return a free port of `host`."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class Node:
    """One server; `announced` is the port that it announces to others, of a proxy for example."""

    def __init__(self, directory: Path, *, host: str = "127.0.0.1", port: int = 0, announced: int = 0) -> None:
        """Use a directory in `directory`; `start` starts it."""
        self.host, self.port = host, port or free_port(host)
        self.announced = announced or self.port
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def _lines(self) -> list[str]:
        return [
            'save ""',
            "appendonly no",
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
            "repl-timeout 5",
            "repl-ping-replica-period 1",
            f"replica-announce-ip {self.host}",
            f"replica-announce-port {self.announced}",
        ]

    async def start(self, *arguments: str) -> None:
        """Start it and wait until it answers."""
        server = server_binary()
        if server is None:
            raise FileNotFoundError("no redis-server on this machine")
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._directory / "server.conf"
        lines = [f"bind {self.host}", f"port {self.port}", f"dir {self._directory}", "daemonize no", *self._lines()]
        file.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - it is only started here, and its arguments are ours
            [server, file, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(RedisError, OSError):
                    await self.ask("PING")
                    return
                await asyncio.sleep(0.02)

    async def ask(self, *command: Any) -> Any:
        """Return its answer to `command`."""
        client: Any = Redis(host=self.host, port=self.port, socket_timeout=2)
        async with client:
            return await client.execute_command(*command)

    def freeze(self) -> None:
        """Stop the process (SIGSTOP) until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class SentinelNode(Node):
    """A Sentinel that watches one master."""

    def __init__(self, directory: Path, master: tuple[str, int], *, quorum: int) -> None:
        """Watch `master`, with the name `shop`."""
        super().__init__(directory)
        self._master, self._quorum = master, quorum

    def _lines(self) -> list[str]:
        host, port = self._master
        return [
            f"sentinel monitor shop {host} {port} {self._quorum}",
            "sentinel down-after-milliseconds shop 500",
            "sentinel failover-timeout shop 3000",
        ]

    async def start(self, *arguments: str) -> None:
        """Start it and wait until it answers."""
        await super().start("--sentinel", *arguments)

    async def knows(self, replicas: int, sentinels: int) -> bool:
        """Tell whether it has found so many working replicas and other Sentinels."""
        listing = await self.ask("SENTINEL", "REPLICAS", "shop")
        good = [one for one in listing if one.get(b"master-link-status") == b"ok"]
        others = await self.ask("SENTINEL", "SENTINELS", "shop")
        return len(good) >= replicas and len(others) >= sentinels
