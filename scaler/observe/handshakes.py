"""What a line of grpc's core says of a failed TLS handshake: who it was, what is wrong, and what to do. No I/O."""

import re
from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed handshake. `peer` has no port, since that is another one with every connection."""

    peer: str
    why: str
    mend: str
    harmless: bool = False  # it may be nobody's fault


_LINE = re.compile(r"CallNextHandshakerLocked: error=(?P<error>.*?) shutdown=(?P<ours>true|false) index=")
_PEER = re.compile(r"endpoint_peer_address=([^,}]+)")
_CODE = re.compile(r":OPENSSL_internal:([A-Z0-9_]+)(?:: (.*))?$")
_HOST = re.compile(r"No match found for server name: (.*)")

_NO_TLS = ("it speaks no TLS", 'give its trigger enableTLS: "true", or an authenticationRef with caCert')
_OLD_TLS = ("it offers nothing that is safe enough: TLS 1.2 or 1.3, with today's ciphers", "renew that client")
_FOREIGN = (
    "its certificate is of a CA that tls.clientCAFile does not hold",
    "issue its certificate from that CA, or add its CA to the file",
)
_REFUSES = (
    "it refuses the server's certificate: for its CA, its host names or its dates",
    "compare caCert of its TriggerAuthentication and the host of its scalerAddress with tls.certFile; its own log says which",
)
_GONE = (
    "it left before the handshake was done",
    "nothing if it only looks whether the port is open; else it may not trust the server's certificate and not say so",
)
_CODES = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "HTTPS_PROXY_REQUEST": _NO_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "NO_SHARED_CIPHER": _OLD_TLS,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "it shows no client certificate",
        "give its trigger an authenticationRef with tlsClientCert and tlsClientKey, as tls.clientCAFile asks for it",
    ),
    "TLSV1_ALERT_UNKNOWN_CA": (
        "it does not know the CA of the server's certificate",
        "give its trigger that CA as caCert of its TriggerAuthentication",
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("it finds the server's certificate expired", "renew tls.certFile"),
    "SSLV3_ALERT_BAD_CERTIFICATE": _REFUSES,  # what Go, and so KEDA, says for every reason
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _REFUSES,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _REFUSES,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _REFUSES,
    # OpenSSL says why in clear where TLS 1.3 has it encrypted, and BoringSSL cannot read that.
    "BAD_PACKET_LENGTH": _REFUSES,
}
_VERIFY = {
    "certificate has expired": ("its certificate has expired", "renew it in the Secret that KEDA takes it from"),
    "certificate is not yet valid": ("its certificate is not yet valid", "look at its dates and at the node's clock"),
    "unable to get local issuer certificate": _FOREIGN,
    "unable to verify the first certificate": _FOREIGN,
    "self signed certificate": _FOREIGN,
    "self signed certificate in certificate chain": _FOREIGN,
}


def parse(line: str) -> Failure | None:
    """Return what a line that the sieve has taken out says, or None if the server itself has ended the handshake."""
    if asked := _HOST.search(line):
        return Failure(
            "a TLS client",
            f"it asks for the host {asked[1]!r}, which the server's certificate does not have",
            "use a host of the certificate in scalerAddress, or add that one to the certificate",
        )
    said = _LINE.search(line)
    if said is None or said["ours"] == "true":
        return None
    peer = _PEER.search(line)
    why, mend = _reason(said["error"])
    return Failure(_host(peer[1]) if peer else "unknown", why, mend, harmless=(why, mend) == _GONE)


def _reason(error: str) -> tuple[str, str]:
    if "Handshake read failed" in error or "Handshake write failed" in error:
        return _GONE
    if "missing selected ALPN" in error:
        return "it speaks TLS, but not HTTP/2", "connect with gRPC; a proxy between must let ALPN h2 through"
    code = _CODE.search(error)
    if code is None:
        return error, "look at what connects from there"
    if code[1] == "CERTIFICATE_VERIFY_FAILED":
        return _VERIFY.get(code[2], (f"its certificate is refused: {code[2]}", "issue one for client authentication"))
    return _CODES.get(code[1], (f"the handshake failed: {code[1]}", "look at what connects from there"))


def _host(address: str) -> str:
    """Return the host of an address as grpc writes it, such as `ipv6:%5B::1%5D:47958`."""
    return unquote(address).partition(":")[2].rpartition(":")[0].strip("[]")
