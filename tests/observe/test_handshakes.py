"""What grpcio 1.75.1 has written with GRPC_TRACE=handshaker, asked for client certificates, and what is made of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.observe.handshakes import parse
from scaler.observe.sieve import CHUNK_BYTES, Sieve


def captured() -> dict[str, str]:
    """Return what was written in each case; of most, without the steps that went well."""
    text = (Path(__file__).parent / "captured" / "handshakes.txt").read_text()
    cases = (case.partition("\n") for case in text.removeprefix("# ").split("\n# "))
    return {name: lines.removesuffix("\n") + "\n" if lines else "" for name, _, lines in cases}


CAPTURED = captured()
REFUSES = "it refuses the server's certificate"
WHY = {
    "start": None,
    "served": None,
    "no certificate, Go": "it shows no client certificate",
    "no certificate, OpenSSL with TLS 1.2": "it shows no client certificate",
    "unknown CA of the client, Go": "its certificate is of a CA that tls.clientCAFile does not hold",
    "self-signed client, Go": "its certificate is of a CA that tls.clientCAFile does not hold",
    "expired client, Go": "its certificate has expired",
    "client not yet valid, Go": "its certificate is not yet valid",
    "refuses our host name, Go": REFUSES,
    "refuses our CA, Go": REFUSES,
    "refuses our CA, OpenSSL with TLS 1.3": REFUSES,
    "refuses our CA, OpenSSL with TLS 1.2": "it does not know the CA of the server's certificate",
    "refuses our CA, grpc's core": "it left before the handshake was done",
    "TLS 1.1": "it offers nothing that is safe enough",
    "no ALPN": "it speaks TLS, but not HTTP/2",
    "HTTP/2 without TLS": "it speaks no TLS",
    "HTTP/1.1 without TLS, IPv6": "it speaks no TLS",
    "a broken hello": "the handshake failed: CLIENTHELLO_PARSE_FAILED",
    "a port scan": "it left before the handshake was done",
    "a port scan with RST": "it left before the handshake was done",
}


def test_every_capture_is_judged() -> None:
    assert CAPTURED.keys() == WHY.keys()


@pytest.mark.parametrize("case", CAPTURED)
def test_a_failed_handshake_is_one_line_with_peer_and_reason(case: str) -> None:
    passed, lines = Sieve().part(CAPTURED[case].encode())
    assert passed == b"", "nothing of it is left for the real standard error"
    failures = [failure for line in lines if (failure := parse(line.decode()))]
    told = [failure for failure in failures if failure.peer != "a TLS client"]
    why = WHY[case]
    assert [failure.why.startswith(why) for failure in told] == ([True] if why else [])
    assert {failure.peer for failure in told} <= {"::1" if "IPv6" in case else "127.0.0.1"}
    assert all(failure.mend for failure in failures)
    assert [failure.harmless for failure in told] == [failure.why.startswith("it left") for failure in told]
    asked = [failure.why for failure in failures if failure not in told]
    assert asked == (
        ["it asks for the host 'other', which the server's certificate does not have"] if "host name" in case else []
    )


FAILED = "I0000 00:00:1.2   3 handshaker.cc:150] CallNextHandshakerLocked: error={} shutdown={} index=2, args={{endpoint=0x1, args={{{}}}"
SSL = "UNKNOWN: Ssl handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1:SSL routines:OPENSSL_internal:"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param(
            FAILED.format(SSL + "X", "true", "p=1"), None, id="ended by the server, at its end or after 2 minutes"
        ),
        pytest.param(FAILED.format(SSL + "X", "false", "p=1"), ("unknown", "the handshake failed: X"), id="no peer"),
        pytest.param(FAILED.format("NEW", "false", "p=1"), ("unknown", "NEW"), id="a reason that is new"),
        pytest.param(
            FAILED.format(SSL + "CERTIFICATE_VERIFY_FAILED: unsupported certificate purpose", "false", "p=1"),
            ("unknown", "its certificate is refused: unsupported certificate purpose"),
            id="another fault of the certificate",
        ),
        pytest.param(
            FAILED.format(
                SSL + "HTTP_REQUEST", "false", "grpc.internal.endpoint_peer_address=ipv6:%5Bfe80::1%25eth0%5D:7"
            ),
            ("fe80::1%eth0", "it speaks no TLS"),
            id="a zone",
        ),
        pytest.param(
            "I0000 00:00:1.2   3 handshaker.cc:150] CallNextHandshakerLocked: error=X", None, id="another form"
        ),
        pytest.param("", None, id="nothing"),
    ],
)
def test_lines_that_were_not_seen_yet(line: str, told: tuple[str, str] | None) -> None:
    failure = parse(line)
    assert (failure and (failure.peer, failure.why)) == told


@given(st.text())
def test_no_line_makes_it_fail(text: str) -> None:
    parse(text)
    parse(FAILED.format(text, "false", f"grpc.internal.endpoint_peer_address={text}"))


FOREIGN = [
    b"F0000 00:00:1795668018.796204    4575 completion_queue.cc:711] Check failed: 0 == 1",
    b"E0000 00:00:1795668018.796204    4575 ssl_transport_security.cc:2396] Invalid cert chain file.",
    b"free(): invalid pointer",
    b"\xff\xfe no text",
    b"",
    b'{"event": "CallNextHandshakerLocked: error=UNKNOWN"}',
]


@given(
    st.lists(st.sampled_from(FOREIGN) | st.sampled_from("".join(CAPTURED.values()).encode().splitlines())),
    st.binary().filter(lambda end: b"\n" not in end),
    st.lists(st.integers(min_value=1, max_value=400)),
)
def test_everything_else_is_passed_on_unchanged_however_it_is_cut(
    lines: list[bytes], end: bytes, cuts: list[int]
) -> None:
    text = b"".join(line + b"\n" for line in lines) + end
    sieve, passed, failed = Sieve(), b"", 0
    for cut in cuts:
        if chunk := text[:cut]:
            more, found = sieve.part(chunk)
            passed, failed, text = passed + more, failed + len(found), text[cut:]
    for chunk in (text, b"") if text else (b"",):
        more, found = sieve.part(chunk)
        passed, failed = passed + more, failed + len(found)
    assert passed == b"".join(line + b"\n" for line in lines if line in FOREIGN) + end
    ours = b"".join(line + b"\n" for line in lines if line not in FOREIGN)
    assert failed == len(Sieve().part(ours)[1])


def test_only_what_may_be_of_a_handshake_waits_for_the_end_of_its_line() -> None:
    sieve = Sieve()
    assert sieve.part(b"last wo") == (b"last wo", [])
    assert sieve.part(b"rds\nI0000 00:00:1.2   3 trace.cc:94] gRPC ") == (b"rds\n", [])
    assert sieve.part(b"Tracers: handshaker\nfree(") == (b"free(", [])
    ours = b"I0000 00:00:1.2   3 trace.cc:94] gRPC Tracers: handshaker\n"
    assert sieve.part(ours + ours) == (ours, []), "what follows a beginning that was passed on belongs to it"
    for first in b"IEW":
        assert sieve.part(bytes([first])) == (b"", [])
        assert sieve.part(b"x") == (bytes([first]) + b"x", [])
        assert sieve.part(b"\n") == (b"\n", [])
    assert sieve.part(b"I0" * (CHUNK_BYTES // 2)) == (b"", [])
    assert sieve.part(b"I") == (b"I0" * (CHUNK_BYTES // 2) + b"I", []), "nor does what is too long"
    assert sieve.part(b"") == (b"", [])
