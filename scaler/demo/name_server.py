"""A name server on UDP for tests, with names that change, fail or never answer."""

import asyncio
import ipaddress
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

A, AAAA = 1, 28
NXDOMAIN, SERVFAIL = 3, 2


@dataclass(slots=True)
class NameServer(asyncio.DatagramProtocol):
    """Answers from `names`: addresses, an error code, or None for no answer; other names do not exist."""

    names: Mapping[str, Sequence[str] | int | None] = field(default_factory=dict)
    ttl: int = 30
    asked: list[str] = field(default_factory=list)  # names, once for each question (A and AAAA)
    address: str = ""
    _transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Listen on `address`, HOST:PORT."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.address = "127.0.0.1:{}".format(self._transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question (RFC 1035, 4.1)."""
        labels, position = [], 12
        while length := data[position]:
            labels.append(data[position + 1 : position + 1 + length].decode().lower())
            position += length + 1
        kind, _ = struct.unpack_from("!HH", data, position + 1)
        question = data[12 : position + 5]
        name = ".".join(labels)
        self.asked.append(name)
        found = self.names.get(name, NXDOMAIN)
        if found is None or self._transport is None:
            return
        code, packed = (found, []) if isinstance(found, int) else (0, _packed(found, kind))
        head = struct.pack("!2sHHHHH", data[:2], 0x8180 | code, 1, len(packed), 0, 0)
        answers = [struct.pack("!HHHIH", 0xC00C, kind, 1, self.ttl, len(each)) + each for each in packed]
        self._transport.sendto(head + question + b"".join(answers), addr)

    def close(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()


def _packed(addresses: Sequence[str], kind: int) -> list[bytes]:
    version = {A: 4, AAAA: 6}.get(kind)
    found = map(ipaddress.ip_address, addresses)
    return [each.packed for each in found if each.version == version]
