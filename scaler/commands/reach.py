"""How a command reaches a running server: by its address, or by a port that kubectl forwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from scaler.commands.forward import Kubectl, find, forwarded, pods
from scaler.commands.handshake import NO_TLS, Tls
from scaler.core.errors import ScalerError

HTTP_PORT = 9091


class ReachError(ScalerError):
    """The options name no server, or two."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Reach:
    """The server of a command: `address` of its gRPC, `http` of its status page, or one found by its Service.

    `service` (NAMESPACE/NAME) chooses among several. `token_file` has the token of the status page.
    """

    address: str | None = None
    http: str | None = None
    tls: Tls = NO_TLS
    token_file: Path | None = None
    forward: bool = False
    service: str | None = None

    def check(self) -> None:
        """Raise `ReachError` for options that contradict each other."""
        if self.forward and (self.address or self.http):
            raise ReachError("--forward finds the server by itself: leave the address away")
        if self.service and not self.forward:
            raise ReachError("--service says where --forward goes to: give --forward as well")


@asynccontextmanager
async def grpc_of(reach: Reach, kubectl: Kubectl) -> AsyncIterator[tuple[str, Tls]]:
    """Yield the gRPC address of the server, and its TLS options; a forwarded one is checked by the Service's name."""
    if not reach.forward:
        if reach.address is None:
            raise ReachError("give --address HOST:PORT of the server's gRPC, or --forward")
        yield reach.address, reach.tls
        return
    service = await find(kubectl, reach.service)
    tls = reach.tls
    if tls.used and tls.server_name is None:
        tls = replace(tls, server_name=service.host)
    async with forwarded(kubectl, service, [f"service/{service.name}"], service.port("grpc")) as (address,):
        yield address, tls


@asynccontextmanager
async def pages_of(reach: Reach, kubectl: Kubectl, *, each: bool = False) -> AsyncIterator[list[tuple[str, str]]]:
    """Yield names and addresses of status pages: of one server, or with `each` of every pod found by --forward.

    Without `http` it is port 9091 of the host in `address`.
    """
    if not reach.forward:
        address = reach.http
        if address is None:
            if reach.address is None:
                raise ReachError("give --http HOST:PORT of the server's status page, or --forward")
            address = f"{reach.address.rpartition(':')[0].removeprefix('dns:///')}:{HTTP_PORT}"
        yield [("", address)]
        return
    service = await find(kubectl, reach.service)
    names = await pods(kubectl, service) if each else []
    targets = [f"pod/{name}" for name in names] or [f"service/{service.name}"]
    async with forwarded(kubectl, service, targets, service.port("http")) as addresses:
        yield list(zip(names if len(names) > 1 else [""] * len(addresses), addresses, strict=True))
