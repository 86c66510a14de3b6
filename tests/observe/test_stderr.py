import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import trustme
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from scaler.demo.clock import ManualClock
from scaler.observe.logs import Once
from scaler.observe.stderr import handshakes_told, tell

LINE = (
    "I0000 00:00:1.2   3 handshaker.cc:150] CallNextHandshakerLocked: error={error} shutdown=false index=2, args={{"
    "endpoint=0x1, args={{grpc.internal.endpoint_peer_address=ipv4:{peer}:{port}}}}}\n"
)
SSL = "SSL_ERROR_SSL: error:1:SSL routines:OPENSSL_internal:"


def line(peer: str, error: str = f"{SSL}HTTP_REQUEST", port: int = 1) -> bytes:
    return LINE.format(peer=peer, error=error, port=port).encode()


async def test_each_peer_and_reason_is_told_once_in_five_minutes(clock: ManualClock) -> None:
    once = Once(clock)
    lines = [
        *(line("10.0.0.1", port=port) for port in range(50_000, 50_100)),
        line("10.0.0.2"),
        line("10.0.0.1", f"{SSL}CERTIFICATE_VERIFY_FAILED: certificate has expired"),
        line("10.0.0.3", "UNKNOWN: Handshake read failed [x]"),
        b"something else\n",
    ]
    with capture_logs() as logs:
        tell(lines, once)
        await clock.advance(299)
        tell(lines, once)
    assert [(entry["peer"], entry["why"], entry["log_level"]) for entry in logs] == [
        ("10.0.0.1", "it speaks no TLS", "warning"),
        ("10.0.0.2", "it speaks no TLS", "warning"),
        ("10.0.0.1", "its certificate has expired", "warning"),
        ("10.0.0.3", "it left before the handshake was done", "info"),
    ]
    assert {entry["event"] for entry in logs} == {"TLS handshake failed"}
    await clock.advance(1)
    with capture_logs() as logs:
        tell(lines, once)
    assert len(logs) == 4


def test_hosts_that_a_stranger_makes_up_fill_no_log(clock: ManualClock) -> None:
    asked = "E0000 00:00:1.2   3 ssl_transport_security.cc:2396] No match found for server name: {}.example\n"
    with capture_logs() as logs:
        tell((asked.format(number).encode() for number in range(100)), Once(clock))
    assert len(logs) == 1


def test_without_a_process_for_it_the_server_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GRPC_TRACE", "GRPC_VERBOSITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "executable", "/none")
    before = sys.stderr
    with handshakes_told(tls=True):
        assert sys.stderr is before
        assert "GRPC_TRACE" not in os.environ
    said = "failed TLS handshakes are not logged: no process can be started for it (No such file or directory)\n"
    assert capsys.readouterr().err == said


# As a process

SPEAK = """
import os, threading, time
before = os.fstat(2).st_ino
def speak():
    while os.fstat(2).st_ino == before:  # the real standard error
        time.sleep(0.01)
    os.write(2, b"a library speaks\\n")
    {then}
threading.Thread(target=speak, daemon=True).start()
from scaler.cli import main
main()
"""


class Program:
    """`scaler serve` with TLS, in which a C library says something as soon as descriptor 2 is not the real one."""

    def __init__(self, folder: Path, then: str, environment: dict[str, str]) -> None:
        self.authority, self.clients = trustme.CA(), trustme.CA()
        issued = self.authority.issue_cert("localhost")
        files = {name: folder / name for name in ("certFile", "keyFile", "clientCAFile")}
        files["certFile"].write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        files["keyFile"].write_bytes(issued.private_key_pem.bytes())
        files["clientCAFile"].write_bytes(self.clients.cert_pem.bytes())
        config = folder / "config.yaml"
        settings = dict.fromkeys(("listen", "http", "healthListen"), "127.0.0.1:0")
        drain = {"waitSeconds": 0, "graceSeconds": 0}
        tls = {name: str(path) for name, path in files.items()}
        config.write_text(yaml.safe_dump({**settings, "tls": tls, "drain": drain, "log": {"format": "json"}}))
        self.process = subprocess.Popen(
            [sys.executable, "-c", SPEAK.format(then=then), "serve", "--config", str(config)],
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for said in lines:
                self._lines.put(said.decode())
        self._lines.put(None)

    def until(self, text: str | None) -> str:
        """Return the next line with `text` in it; without `text`, read all to the end."""
        deadline = time.monotonic() + 60
        while (said := self._lines.get(timeout=deadline - time.monotonic())) is not None:
            self.said.append(said)
            if text is not None and text in said:
                return said
        assert text is None, f"{text!r} is not in {self.said}"
        return ""

    def end(self) -> int:
        """Let it drain, and read what it has said."""
        self.process.send_signal(signal.SIGTERM)
        self.until(None)
        return self.process.wait(60)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The failed handshakes in its log; everything else that it has said must be well-formed too."""
        events = [json.loads(said) for said in self.said if said != "a library speaks\n"]
        return [event for event in events if event["event"] == "TLS handshake failed"]

    def client(self, trust: trustme.CA, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # with 1.3 a client that is refused hears of it too late
        context.set_alpn_protocols(["h2"])
        trust.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        return context

    def refused(self, port: int, context: ssl.SSLContext, host: str = "localhost") -> None:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(raw, server_hostname=host)

    def serves(self, port: int) -> bool:
        mine = self.clients.issue_cert("keda-operator")
        pair = mine.private_key_pem.bytes(), mine.cert_chain_pems[0].bytes()
        credentials = grpc.ssl_channel_credentials(self.authority.cert_pem.bytes(), *pair)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", "localhost")]
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        return answer.status == health_pb2.HealthCheckResponse.SERVING


Run = Callable[..., Program]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started: list[Program] = []

    def running(then: str = "pass", **environment: str) -> Program:
        started.append(Program(tmp_path, then, environment))
        return started[-1]

    yield running
    for program in started:
        program.process.kill()
        program.process.wait()
        program.reader.join(60)  # it ends with the last process that holds the pipe, which is the sieve
        assert not program.reader.is_alive()


EACH_ONCE = sorted(
    [
        "it shows no client certificate",
        "its certificate is of a CA that tls.clientCAFile does not hold",
        "its certificate has expired",
        "it does not know the CA of the server's certificate",
        "it asks for the host 'other', which the server's certificate does not have",
        "it refuses the server's certificate: for its CA, its host names or its dates",
        "it speaks no TLS",
    ]
)


def test_a_peer_that_fails_again_and_again_is_told_once(run: Run) -> None:
    program = run()
    port = json.loads(program.until('"serving"'))["grpc"]
    yesterday = datetime.now(UTC) - timedelta(days=1)
    expired = program.clients.issue_cert("k", not_before=yesterday - timedelta(days=1), not_after=yesterday)
    for again in range(3):
        program.refused(port, program.client(program.authority))
        program.refused(port, program.client(program.authority, trustme.CA().issue_cert("k")))
        program.refused(port, program.client(program.authority, expired))
        program.refused(port, program.client(trustme.CA()))
        program.refused(port, program.client(program.authority), host="other")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while plain.recv(1024):
                pass
        while not again and len(program.told) < len(EACH_ONCE):
            program.until("TLS handshake failed")
        assert program.serves(port)
    assert program.end() == 0
    assert sorted(event["why"] for event in program.told) == EACH_ONCE
    assert {event["peer"] for event in program.told} == {"127.0.0.1", "a TLS client"}
    assert program.said.count("a library speaks\n") == 1


def test_the_last_words_of_a_library_are_not_lost(run: Run) -> None:
    program = run("os.write(2, b'unrelated\\nlast words'); os.abort()")
    program.until(None)
    assert program.process.wait(60) == -signal.SIGABRT
    said = "".join(program.said)
    # Python's own words take another way, and may come in between.
    assert [words for words in ("a library speaks\n", "unrelated\n", "last words") if words not in said] == []
    assert "Fatal Python error: Aborted" in said


def test_without_its_sieve_the_server_goes_on(run: Run) -> None:
    program = run()
    port = json.loads(program.until('"serving"'))["grpc"]
    (sieve,) = psutil.Process(program.process.pid).children()
    for number in (signal.SIGTERM, signal.SIGINT):
        sieve.send_signal(number)
    program.refused(port, program.client(program.authority))
    program.until("no client certificate")
    sieve.kill()
    program.until("no longer sifted")
    program.refused(port, program.client(program.authority))
    program.until("PEER_DID_NOT_RETURN_A_CERTIFICATE")
    assert program.serves(port)
    assert program.end() == 0


@pytest.mark.parametrize("name", ["GRPC_TRACE", "GRPC_VERBOSITY"])
def test_who_asks_grpc_himself_gets_its_lines(run: Run, name: str) -> None:
    program = run(**{name: {"GRPC_TRACE": "handshaker", "GRPC_VERBOSITY": "INFO"}[name]})
    port = json.loads(program.until('"serving"'))["grpc"]
    assert psutil.Process(program.process.pid).children() == []
    program.refused(port, program.client(program.authority))
    program.until("PEER_DID_NOT_RETURN_A_CERTIFICATE")
    assert program.end() == 0
