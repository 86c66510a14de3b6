import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scaler.server.certificate import Validity, validity

DAY = 86_400.0
NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        pytest.param(Validity(-10 * DAY, 80 * DAY), "", id="in the middle"),
        pytest.param(Validity(-82 * DAY, 8 * DAY), "it expires on 1970-01-09 00:00 UTC", id="the last tenth"),
        pytest.param(Validity(-80 * DAY, 10 * DAY), "", id="before it"),
        pytest.param(Validity(-0.5 * DAY, 0.5 * DAY), "", id="a short life"),
        pytest.param(Validity(-3650 * DAY, 31 * DAY), "", id="a long life"),
        pytest.param(Validity(-3650 * DAY, 30 * DAY), "it expires on 1970-01-31 00:00 UTC", id="its last 30 days"),
        pytest.param(Validity(-1, 0), "it has expired on 1970-01-01 00:00 UTC", id="expired"),
        pytest.param(Validity(60, 120), "it is not valid before 1970-01-01 00:01 UTC", id="not yet valid"),
        pytest.param(Validity(refused="purpose"), "no client accepts it (purpose)", id="refused"),
    ],
)
def test_a_certificate_is_complained_of_in_time(certificate: Validity, said: str) -> None:
    assert certificate.complaint(0.0) == said


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("days", [(-9, -1), (-1, 9), (3, 9)], ids=["expired", "valid", "not yet valid"])
def test_the_dates_are_those_that_a_client_finds(
    tmp_path: Path, days: tuple[int, int], version: ssl.TLSVersion
) -> None:
    begin, end = (NOW.replace(microsecond=0) + timedelta(days=day) for day in days)
    issued = trustme.CA().issue_cert("localhost", not_before=begin, not_after=end)
    chain = tmp_path / "tls.crt"
    chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.maximum_version = version
    issued.configure_cert(server)
    assert validity(server, chain) == Validity(begin.timestamp(), end.timestamp())


def test_a_certificate_for_clients_is_refused_at_any_time(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(days=1), NOW + timedelta(days=90))
    signed = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False).sign(
        key, hashes.SHA256()
    )
    chain, secret = tmp_path / "tls.crt", tmp_path / "tls.key"
    chain.write_bytes(signed.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, secret)
    assert validity(server, chain).complaint(0.0).startswith("no client accepts it (un")  # its words are OpenSSL's
