"""Pages and a Prometheus that ask for a client certificate (mTLS)."""

import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from scaler.clients.pages.exposition import Family
from scaler.clients.pages.prometheus import PrometheusReader
from scaler.clients.pages.prometheus_query import PrometheusPages
from scaler.clients.pages.reader import PagesReader, UrlPages, Wanted
from scaler.clients.pages.settings import PagesSettings, PrometheusServer
from scaler.core.domain import Place
from scaler.core.errors import Fault, Unavailable
from scaler.demo.raw_http import answer
from scaler.demo.reported import Reported
from scaler.sources.backends import Backends

FAMILIES = frozenset({Family("workqueue_depth", ("name",))})
WANTED = Wanted(FAMILIES, frozenset({"workqueue_depth"}))
PAGE = answer(b'workqueue_depth{name="a"} 3\n')
RESULT = answer(b'{"status":"success","data":{"resultType":"vector","result":[]}}')
Files = dict[str, Path]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return the CA of the server, and certificates of a client that it knows and of one that it does not."""
    found = {name: tmp_path / f"{name}.pem" for name in ("ca", "known", "key", "stranger")}
    stranger = trustme.CA().issue_cert("scaler@elsewhere")
    stranger.private_key_and_cert_chain_pem.write_to_path(str(found["stranger"]))
    return found


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def port(request: pytest.FixtureRequest, files: Files) -> Iterator[int]:
    """Serve in a thread: what asyncio serves sends no alert, as a server of Go and nginx do."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(files["ca"]))
    known = authority.issue_cert("scaler@here")
    known.cert_chain_pems[0].write_to_path(str(files["known"]))
    known.private_key_pem.write_to_path(str(files["key"]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, request.param)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:  # the end of the test
                return
            with suppress(OSError), context.wrap_socket(accepted, server_side=True) as connection:
                asked = connection.recv(4_096)
                connection.sendall(RESULT if b"/api/v1/query" in asked else PAGE)

    thread = threading.Thread(target=serve)
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


async def _read(reader: Any, place: Place) -> Any:
    told = Reported()
    await reader.read([place], told)
    await reader.close()
    if isinstance(told[place], Fault):
        raise told[place]
    return told[place]


Page = Callable[..., Awaitable[Any]]


@pytest.fixture
def page(port: int) -> Page:
    async def reading(**entry: Any) -> Any:
        entries = [PagesSettings(urls=("https://localhost:*",), **entry)]
        return await _read(
            Backends(pages=entries).hand(PagesReader), UrlPages(f"https://localhost:{port}/metrics", WANTED)
        )

    return reading


async def test_the_certificate_is_shown(page: Page, files: Files) -> None:
    mine = {"cert_file": files["known"], "key_file": files["key"]}
    assert len(await page(ca_file=files["ca"], **mine)) == 1
    assert len(await page(insecure_skip_verify=True, **mine)) == 1


@pytest.mark.parametrize("given", ["nothing", "stranger"])
async def test_without_it_the_message_names_the_cause_and_the_key(page: Page, files: Files, given: str) -> None:
    mine = {} if given == "nothing" else {"cert_file": files["stranger"]}
    with pytest.raises(Unavailable, match=r"does (the server|it) ask for a client certificate\?; `pages` of the conf"):
        await page(ca_file=files["ca"], **mine)


async def test_files_that_do_not_belong_together_are_told(page: Page, files: Files) -> None:
    with pytest.raises(
        Unavailable, match=r"its entry in `pages` cannot be used: no PEM, or a key of another certificate"
    ):
        await page(ca_file=files["ca"], cert_file=files["known"])  # without its key


async def test_a_prometheus_takes_one_too(port: int, files: Files) -> None:
    url: Any = f"https://localhost:{port}"
    place = PrometheusPages("main", "", "", FAMILIES)

    async def ask(**tls: Any) -> Any:
        servers = {"main": PrometheusServer(url=url, ca_file=files["ca"], **tls)}
        return await _read(Backends(prometheus=servers).hand(PrometheusReader), place)

    with pytest.raises(
        Unavailable, match=r"client certificate.*; a server under `prometheus` of the configuration has"
    ):
        await ask()
    with pytest.raises(Unavailable, match="no series"):  # it has answered
        await ask(cert_file=files["known"], key_file=files["key"])


def test_a_key_alone_and_a_certificate_for_plain_http_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="keyFile needs certFile"):
        PagesSettings(urls=("https://a",), key_file=tmp_path)
    with pytest.raises(ValidationError, match="certFile: is for https alone"):
        PagesSettings(urls=("http://a",), cert_file=tmp_path)
