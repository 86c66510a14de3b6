"""The address guard: which network addresses a trigger may make the scaler connect to, checked when it connects."""

import ipaddress
import socket
from typing import Any

from scaler.core.errors import Refused

_METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local: IMDS, ECS and EKS credentials, OpenStack
        "fe80::/10",  # link-local
        "fd00:ec2::/32",  # IMDS and EKS Pod Identity over IPv6
        "fd20:ce::254/128",  # Google Cloud over IPv6
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure
        "0.0.0.0/8",  # "this host"; Linux connects it to loopback
        "::/128",
        "192.0.0.192/32",  # Oracle Cloud
    )
)

_NAT64 = (
    ipaddress.ip_network("64:ff9b::/96"),  # RFC 6052: the last 32 bits are the IPv4 address
    ipaddress.ip_network("64:ff9b:1::/48"),  # RFC 8215: mostly those, too
    ipaddress.ip_network("::/96"),  # "IPv4-compatible", given up by RFC 4291; `::` and `::1` are none
)


class Addresses:
    """Checks every connection to a host that comes from a trigger's metadata.

    It checks the address of the connection, not the name, so a redirect or a name that later resolves to something else
    cannot get around it.
    """

    def __init__(self, *, allow_loopback: bool = True) -> None:
        """Refuse loopback addresses too unless `allow_loopback`, which is False as soon as `access` has a rule."""
        self.allow_loopback = allow_loopback

    def check(self, address: str) -> None:
        """Raise `Refused` if `address`, an IPv4 or IPv6 literal, must not be connected to."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        ip = _within(ip)
        if any(ip.version == network.version and ip in network for network in _METADATA):
            raise Refused(
                f"address {address} is refused: link-local and cloud metadata addresses are never read, "
                "whatever `access` says; use the address of the backend itself"
            )
        if ip.is_loopback and not self.allow_loopback:
            raise Refused(
                f"address {address} is refused: with `access` rules in the configuration no trigger reads loopback "
                "addresses; use the address of the backend itself"
            )

    def open_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        """Return a socket for `addr_info` of `getaddrinfo`, for `aiohttp.TCPConnector`; raises `Refused`."""
        family, type_, proto, _, address = addr_info
        self.check(address[0])
        made = socket.socket(family, type_, proto)
        made.setblocking(False)
        return made


def _within(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that the IPv6 address `ip` stands for, else `ip` itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if int(ip) > 1 and any(ip in network for network in _NAT64):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
