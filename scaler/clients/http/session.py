"""The one way to fetch something over HTTP that metadata has named: every connection passes the address guard."""

import aiohttp

from scaler.clients.http.addresses import Addresses


def open_session(addresses: Addresses, *, connections: int = 100) -> aiohttp.ClientSession:
    """Return a session for the running loop that connects only where `addresses` lets it.

    The guard sits at the socket, so redirects and names that change their address pass it as well. Proxies from the
    environment are not used: they would connect where the guard cannot see. Cookies are not kept.
    """
    connector = aiohttp.TCPConnector(
        limit=connections,
        ttl_dns_cache=10,
        socket_factory=addresses.open_socket,
        resolver=aiohttp.ThreadedResolver(),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=True,
        timeout=aiohttp.ClientTimeout(total=None),  # the store limits every read; a timer more would be paid each time
    )
