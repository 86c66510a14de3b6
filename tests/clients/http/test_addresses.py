import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.clients.http.addresses import Addresses
from scaler.core.errors import Refused

METADATA = [
    "169.254.169.254",  # EC2, Google Cloud, Azure
    "169.254.170.2",  # ECS
    "169.254.170.23",  # EKS Pod Identity
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fe80::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "0.1.2.3",
    "::",
]
LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1"]
ORDINARY = ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "8.8.8.8", "2001:db8::1", "fd00:1234::1", "fc00::1"]


def hidden(address: str) -> list[str]:
    """Return the IPv6 addresses that lead to an IPv4 address."""
    if ":" in address:
        return []
    high, low = (int.from_bytes(part, "big") for part in (socket.inet_aton(address)[:2], socket.inet_aton(address)[2:]))
    return [
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        f"64:ff9b:1::{address}",
        f"2002:{high:x}:{low:x}::1",
        f"::{address}",
    ]


@pytest.mark.parametrize("address", [form for plain in METADATA for form in (plain, *hidden(plain))])
@pytest.mark.parametrize("allow_loopback", [True, False])
def test_credentials_are_never_fetched_however_the_address_is_written(address: str, *, allow_loopback: bool) -> None:
    with pytest.raises(Refused, match="link-local and cloud metadata addresses are never read"):
        Addresses(allow_loopback=allow_loopback).check(address)


@pytest.mark.parametrize("address", [form for plain in LOOPBACK for form in (plain, *hidden(plain))])
def test_loopback_is_read_only_without_rules(address: str) -> None:
    Addresses(allow_loopback=True).check(address)
    with pytest.raises(Refused, match="no trigger reads loopback addresses"):
        Addresses(allow_loopback=False).check(address)


@pytest.mark.parametrize("address", [form for plain in ORDINARY for form in (plain, *hidden(plain))])
def test_everything_else_is_read(address: str) -> None:
    Addresses(allow_loopback=False).check(address)


def test_the_address_is_named_as_it_was_connected_to() -> None:
    with pytest.raises(Refused, match=r"^address ::ffff:169\.254\.169\.254 is refused"):
        Addresses().check("::ffff:169.254.169.254")


@given(st.ip_addresses(network="169.254.0.0/16") | st.ip_addresses(network="fe80::/10"))
def test_no_link_local_address_is_read(address: object) -> None:
    with pytest.raises(Refused):
        Addresses().check(str(address))


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_socket_is_made_for_what_may_be_read(host: str, family: socket.AddressFamily) -> None:
    info = (family, socket.SOCK_STREAM, 6, "", (host, 80))
    with Addresses().open_socket(info) as made:
        assert (made.family, made.getblocking()) == (family, False)
    with pytest.raises(Refused):
        Addresses(allow_loopback=False).open_socket(info)
