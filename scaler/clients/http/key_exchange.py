"""TLS handshakes that end where a server would hold up the event loop by a key exchange or by its certificates.

A key exchange with ffdhe8192 takes 180 ms, before the certificate is looked at. OpenSSL offers it, and Python before 3.15 cannot say
otherwise. But a server has to ask for it, in its first message, which is looked at before OpenSSL has it.
"""

import ssl
from typing import Any

from scaler.core.errors import Unavailable

MAX_HELLO_BYTES = 4_096
"""Of records that hold no whole ServerHello yet; one has at most 1.3 kB, with a key against quantum computers."""
MAX_HANDSHAKE_BYTES = 24 << 10
"""From the server. OpenSSL takes 2 ms for each kilobyte of small certificates, and would take 100 kB. Usual are 3 to 8 kB, and
more only with a long list of CAs for client certificates."""
_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE = 20, 21, 22
_HELLO_REQUEST, _SERVER_HELLO = 0, 2
_KEY_SHARE = 51
_FINITE_FIELDS = range(0x0100, 0x0200)
"""Groups ffdhe2048 to ffdhe8192, and those reserved for more (RFC 7919)."""


class KeyExchangeError(Unavailable, ssl.SSLError):  # a fault, see core/errors.py
    """A server wants a key exchange that would take too long; also an `OSError`, which libraries expect."""

    __str__ = BaseException.__str__  # not that of SSLError, which needs a number


class Handshake(ssl.SSLObject):
    """A handshake of limited size, whose first message from the server has been looked at."""

    incoming: ssl.MemoryBIO
    _held = b""
    _seen = False
    _came = _left = 0  # bytes since the beginning, and those of them that were left for the next time

    def do_handshake(self) -> None:
        """Go on; raises `KeyExchangeError` too."""
        self._came += self.incoming.pending - self._left
        if self._came > MAX_HANDSHAKE_BYTES:
            raise KeyExchangeError("the server's TLS handshake is too long; its certificates must be few and small")
        try:
            self._go_on()
        finally:
            self._left = self.incoming.pending

    def _go_on(self) -> None:
        if not self._seen and self.incoming.pending:
            self._held += self.incoming.read()
            message = first_message(self._held)
            if message is None:
                if len(self._held) > MAX_HELLO_BYTES:
                    raise KeyExchangeError("the server's first TLS message does not end")
                raise ssl.SSLWantReadError
            if group_of(message) in _FINITE_FIELDS:
                raise KeyExchangeError(
                    "the server insists on a key exchange in a finite field (FFDHE), which would take too long"
                )
            self._seen = True
            self.incoming.write(self._held)
            self._held = b""
        super().do_handshake()


class Context(ssl.SSLContext):
    """A context with such handshakes, for clients."""

    sslobject_class = Handshake

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **more: Any) -> ssl.SSLObject:
        """Return a `Handshake`."""
        made = super().wrap_bio(incoming, outgoing, *args, **more)
        made.incoming = incoming  # type: ignore[attr-defined]  # of the class above
        return made


def first_message(data: bytes) -> bytes | None:
    """Return the ServerHello in the records `data`, None if it is not whole, and b"" if something else comes first.

    A message may be split among any number of records (RFC 8446, 5.1), with alerts and others between them.
    """
    said, at = b"", 0
    while at + 5 <= len(data):
        kind, size = data[at], int.from_bytes(data[at + 3 : at + 5])
        if kind == _HANDSHAKE:
            said += data[at + 5 : at + 5 + size]
        elif kind not in {_CHANGE_CIPHER_SPEC, _ALERT}:
            return b""
        at += 5 + size
    while said[:4] == bytes((_HELLO_REQUEST, 0, 0, 0)):  # before TLS 1.3, and without a meaning here
        said = said[4:]
    if said[:1] not in {b"", bytes((_SERVER_HELLO,))}:
        return b""
    end = 4 + int.from_bytes(said[1:4])
    return said[:end] if len(said) >= max(end, 5) else None


def group_of(hello: bytes) -> int | None:
    """Return the group of the `key_share` in a ServerHello, or in a HelloRetryRequest, None without one."""
    at = 4 + 2 + 32
    at += 1 + int.from_bytes(hello[at : at + 1]) + 2 + 1 + 2
    while at + 4 <= len(hello):
        extension, size = int.from_bytes(hello[at : at + 2]), int.from_bytes(hello[at + 2 : at + 4])
        if extension == _KEY_SHARE:
            return int.from_bytes(hello[at + 4 : at + 6])
        at += 4 + size
    return None
