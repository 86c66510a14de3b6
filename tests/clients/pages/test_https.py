"""Pages as controllers of kubebuilder serve them: over HTTPS, self-signed, for bearer tokens."""

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import ObjectList
from scaler.clients.pages import settings as pages_settings
from scaler.clients.pages.exposition import Family, Page
from scaler.clients.pages.reader import PagesReader, Pod, PodPages, UrlPages, Wanted
from scaler.clients.pages.settings import PagesSettings
from scaler.core.domain import Place
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.core.tenant import TENANT
from scaler.demo.controllers import Controller
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.reported import Reported
from scaler.sources.access import Access, AccessRule
from scaler.sources.backends import Backends

WANTED = Wanted(frozenset({Family("workqueue_depth", ("name",))}), frozenset({"workqueue_depth"}))
PAGE = answer(b'workqueue_depth{name="a"} 3\n')
TOKEN = "canary-of-the-service-account"


def for_tokens(head: str) -> bytes:
    """Answer as controller-runtime's authentication filter does."""
    return PAGE if f"Authorization: Bearer {TOKEN}\r\n" in head else answer(b"Unauthorized\n", status=401)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("controller.operators.svc", "localhost").configure_cert(context)
    made = RawServer(for_tokens)
    await made.start(tls=context)
    yield made
    await made.close()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with `ca.pem`, and the service account's token."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setattr(pages_settings, "SERVICE_ACCOUNT", tmp_path)
    return tmp_path


class OnePod(Kubernetes):
    async def objects(self, *_: Any, **__: Any) -> ObjectList:
        return ObjectList((Pod("c-0", "127.0.0.1", leaving=False),), 1, 0.0)


Read = Callable[..., Any]


@pytest.fixture
async def read() -> AsyncIterator[Read]:
    """Read a place with entries of `pages:`."""
    readers: list[PagesReader] = []

    async def reading(place: Place, *entries: PagesSettings, **clients: Any) -> tuple[Page, ...]:
        readers.append(Backends(pages=entries, kubernetes=OnePod(), **clients).hand(PagesReader))
        told = Reported()
        await readers[-1].read([place], told)
        if isinstance(told[place], Fault):
            raise told[place]
        found: tuple[Page, ...] = told[place]
        return found

    yield reading
    for reader in readers:
        await reader.close()


def url_pages(server: RawServer, host: str = "localhost", scheme: str = "https") -> UrlPages:
    return UrlPages(f"{scheme}://{host}:{server.port}/metrics", WANTED)


async def test_the_configuration_says_which_authority_and_which_token_count(
    read: Read, server: RawServer, files: Path
) -> None:
    urls = (f"https://localhost:{server.port}/*",)
    for entry in (
        PagesSettings(urls=urls, ca_file=files / "ca.pem", service_account_token=True),
        PagesSettings(urls=urls, ca_file=files / "ca.pem", token_file=files / "token"),
        PagesSettings(urls=urls, insecure_skip_verify=True, service_account_token=True),
    ):
        assert len(await read(url_pages(server), entry)) == 1
    with pytest.raises(Unavailable, match="TLS certificate is refused"):
        await read(url_pages(server), PagesSettings(urls=urls, service_account_token=True))
    with pytest.raises(Unavailable, match=r"TLS certificate is refused.*`pages` of the configuration"):
        await read(url_pages(server))
    with pytest.raises(Refused, match=r"HTTP 401.*`pages` of the configuration"):
        await read(url_pages(server), PagesSettings(urls=urls, ca_file=files / "ca.pem"))


async def test_the_first_entry_for_a_url_counts_and_others_get_no_token(
    read: Read, server: RawServer, files: Path
) -> None:
    elsewhere = PagesSettings(urls=("https://elsewhere.svc:*",), insecure_skip_verify=True, service_account_token=True)
    first = PagesSettings(urls=("https://localhost:*",), insecure_skip_verify=True)
    second = PagesSettings(urls=("https://localhost:*",), insecure_skip_verify=True, service_account_token=True)
    with pytest.raises(Refused, match="HTTP 401"):
        await read(url_pages(server), elsewhere, first, second)
    assert len(await read(url_pages(server), elsewhere, second, first)) == 1
    assert TOKEN not in server.heads[0]


async def test_pods_are_read_over_https_by_a_name_of_their_certificate(
    read: Read, server: RawServer, files: Path
) -> None:
    place = PodPages("operators", "app=c", server.port, "/metrics", WANTED, "https")
    entry = PagesSettings(
        urls=("https://*.operators.pod:*/*",),
        ca_file=files / "ca.pem",
        server_name="controller.operators.svc",
        service_account_token=True,
    )
    (page,) = await read(place, entry)
    assert page.name == "pod c-0"
    with pytest.raises(Unavailable, match="IP address mismatch"):
        await read(place, entry.model_copy(update={"server_name": None}))


async def test_a_rotated_token_and_authority_are_read_again(read: Read, server: RawServer, files: Path) -> None:
    entry = PagesSettings(urls=("https://localhost:*",), ca_file=files / "ca.pem", service_account_token=True)
    (files / "token").write_text("old")
    with pytest.raises(Refused, match="HTTP 401"):
        await read(url_pages(server), entry)
    (files / "token").write_text(TOKEN)
    await read(url_pages(server), entry)
    trustme.CA().cert_pem.write_to_path(str(files / "ca.pem"))
    with pytest.raises(Unavailable, match="TLS certificate is refused"):
        await read(url_pages(server), entry)
    (files / "ca.pem").write_text("canary")
    with pytest.raises(Unavailable, match=r"its entry in `pages` cannot be used: no PEM") as fault:
        await read(url_pages(server), entry)
    assert "canary" not in str(fault.value)
    (files / "ca.pem").unlink()
    with pytest.raises(Unavailable, match=r"cannot be used: .*: No such file"):
        await read(url_pages(server), entry)


async def test_a_token_never_leaves_its_origin(read: Read, server: RawServer, files: Path) -> None:
    thief = RawServer(PAGE)
    await thief.start()
    entry = PagesSettings(
        urls=(f"https://localhost:{server.port}/*",), insecure_skip_verify=True, token_file=files / "token"
    )
    server.answer = answer(b"", status=302, headers={"Location": f"https://localhost:{thief.port}/metrics"})
    with pytest.raises(Unavailable):  # it speaks no TLS, but it has heard what was said
        await read(url_pages(server), entry)
    plain = RawServer(answer(b"", status=302, headers={"Location": f"http://127.0.0.1:{thief.port}/metrics"}))
    await plain.start()
    place = UrlPages(f"http://user:canary@127.0.0.1:{plain.port}/metrics", WANTED)
    assert len(await read(place)) == 1
    assert "Authorization" in plain.heads[0]
    assert all("canary" not in head and "Authorization" not in head for head in thief.heads)
    await thief.close()
    await plain.close()


async def test_every_hop_is_held_against_the_access_rules(read: Read) -> None:
    secret = RawServer(PAGE)
    await secret.start()
    server = RawServer(answer(b"", status=302, headers={"Location": f"http://127.0.0.1:{secret.port}/metrics"}))
    await server.start()
    own, other = (f"http://127.0.0.1:{each.port}/*" for each in (server, secret))
    place = UrlPages(f"http://127.0.0.1:{server.port}/metrics", WANTED)
    TENANT.set("shop")
    for urls, allowed in (((own,), False), ((own, other), True)):
        access = Access([AccessRule(namespaces=("shop",), urls=urls)])
        if allowed:
            assert len(await read(place, access=access)) == 1
        else:
            with pytest.raises(
                Refused, match=f"redirects to http://127.0.0.1:{secret.port}/metrics, .* namespace shop"
            ):
                await read(place, access=access)
            assert secret.heads == []
    # A path on the same host and port is another URL, too.
    server.answer = lambda head: PAGE if "/admin" in head else answer(b"", status=302, headers={"Location": "/admin"})
    access = Access([AccessRule(namespaces=("shop",), urls=(f"http://127.0.0.1:{server.port}/metrics",))])
    with pytest.raises(Refused, match="/admin, which is not followed"):
        await read(place, access=access)
    await secret.close()
    await server.close()


async def test_a_pod_leads_nowhere_else(read: Read) -> None:
    server = RawServer(answer(b"", status=302, headers={"Location": "http://127.0.0.1:1/metrics"}))
    await server.start()
    with pytest.raises(Unavailable, match=r"redirects to http://127\.0\.0\.1:1, which is not followed"):
        await read(PodPages("operators", "app=c", server.port, "/metrics", WANTED))
    await server.close()


async def test_tls_on_one_side_only_is_told(read: Read, server: RawServer) -> None:
    with pytest.raises(Unavailable, match="https"):
        await read(url_pages(server, scheme="http"))
    plain = Controller(["a"])
    await plain.start()
    with pytest.raises(Unavailable, match="does the server speak https on this port"):
        await read(UrlPages(plain.url.replace("http:", "https:"), WANTED))
    await plain.close()
