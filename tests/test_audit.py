"""The audit of the locked dependencies, with the real pip-audit and a double of OSV."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tools import audit

LOCK = "".join(f"{name}==1.0 --hash=sha256:{'0' * 64}\n" for name in ("aiohttp", "redis"))
Answers = Callable[[str], tuple[int, bytes]]


def vulnerable(*names: str) -> Answers:
    """Know something against these packages."""

    def answer(name: str) -> tuple[int, bytes]:
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}]
        affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]
        found = {"vulns": [{"id": f"PYSEC-{name}", "affected": affected}]} if name in names else {}
        return 200, json.dumps(found).encode()

    return answer


class Double(ThreadingHTTPServer):
    """Answers a query as `answers` says."""

    def __init__(self, answers: Answers) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = answers(query["package"]["name"])
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def index(self) -> tuple[str, ...]:
        return osv(self.server_port)


def osv(port: int) -> tuple[str, ...]:
    return ("--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{port}/v1/query")


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], tuple[str, ...]]]:
    started: list[tuple[Double, threading.Thread]] = []

    def serving(answers: Answers) -> tuple[str, ...]:
        double = Double(answers)
        thread = threading.Thread(target=double.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((double, thread))
        return double.index

    yield serving
    for double, thread in started:
        double.shutdown()
        double.server_close()
        thread.join()


@pytest.fixture
def silent() -> Iterator[tuple[str, ...]]:
    """An index that takes the connection and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield osv(listening.getsockname()[1])


@pytest.fixture
def nobody() -> tuple[str, ...]:
    """An index that is not there."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return osv(closed.getsockname()[1])


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Audit two packages; return the exit code and what is said."""
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK)

    def running(*indexes: tuple[str, ...], strict: bool = False) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["audit", *(["--strict"] if strict else [])])
        code = audit.main(lock, {f"index {number}": options for number, options in enumerate(indexes, 1)})
        return code, capsys.readouterr().out

    return running


Serving = Callable[[Answers], tuple[str, ...]]
Run = Callable[..., tuple[int, str]]


def test_a_finding_fails(serve: Serving, run: Run) -> None:
    assert run(serve(vulnerable("jinja2", "redis"))) == (
        1,
        "audit: redis 1.0: PYSEC-redis, fixed in 1.1\naudit: 1 known vulnerabilities in 2 packages (index 1)\n",
    )


@pytest.mark.slow
def test_no_finding_passes(serve: Serving, run: Run) -> None:
    said = "audit: 0 known vulnerabilities in 2 packages (index 1)\n"
    assert run(serve(vulnerable("jinja2")), strict=True) == (0, said)


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True])
def test_without_an_index_it_is_skipped_and_says_why(nobody: tuple[str, ...], run: Run, *, strict: bool) -> None:
    code, said = run(nobody, nobody, strict=strict)
    assert code == int(strict)
    assert said.count("\n") == 1
    assert said.startswith("audit: skipped, no index of advisories answers (index 1: ")
    assert said.count("Connection") >= 2


@pytest.mark.slow
def test_an_index_that_is_silent_does_not_hold_it_up(
    silent: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "SOCKET_SECONDS", 60)
    monkeypatch.setattr(audit, "FIRST_SECONDS", 2)
    assert run(silent) == (0, "audit: skipped, no index of advisories answers (index 1: no answer in 2 s)\n")


@pytest.mark.slow
def test_a_mirror_without_advisories_counts_for_nothing(serve: Serving, run: Run) -> None:
    mirror = serve(vulnerable())
    code, said = run(mirror)
    assert (code, "it has no advisories" in said) == (0, True)
    assert run(mirror, strict=True)[0] == 1
    assert run(mirror, serve(vulnerable("jinja2", "redis")))[0] == 1, "the next index is asked"


@pytest.mark.slow
@pytest.mark.parametrize("broken", [(500, b""), (200, b"<html>log in</html>"), (200, b'{"vulns": 7}')])
def test_a_broken_answer_is_no_success(serve: Serving, run: Run, broken: tuple[int, bytes]) -> None:
    good = vulnerable("jinja2")
    index = serve(lambda name: broken if name == "redis" else good(name))
    code, said = run(index)
    assert code == 0
    assert said.startswith("audit: skipped, no index of advisories answers (index 1: ")
    assert "Error" in said


@pytest.mark.parametrize("strict", [False, True])
def test_a_package_that_the_index_does_not_know_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, strict: bool
) -> None:
    """Only PyPI answers so, and pip-audit asks no double of it."""
    known = {"name": "aiohttp", "version": "1.0", "vulns": []}
    report = json.dumps({"dependencies": [known, {"name": "redis", "skip_reason": "not found on PyPI"}]})
    monkeypatch.setattr(audit, "_try_out", lambda *_: None)
    monkeypatch.setattr(audit.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, report))
    assert run((), strict=strict) == (
        int(strict),
        "audit: not known to index 1, so not audited: redis\naudit: 0 known vulnerabilities in 1 packages (index 1)\n",
    )
