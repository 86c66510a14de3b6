from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from yarl import URL

from scaler.clients.pages.settings import PagesSettings, PrometheusServer


@pytest.mark.parametrize(
    ("pattern", "url", "covered"),
    [
        ("https://*.operators.svc:8443/*", "https://a.operators.svc:8443/metrics", True),
        ("https://*.operators.svc:8443/*", "https://A.Operators.svc.:8443/metrics", True),
        ("https://*.operators.svc:8443/*", "https://a.b.operators.svc:8443/", True),
        ("https://*.operators.svc:8443/*", "https://operators.svc:8443/metrics", False),
        ("https://*.operators.svc:8443/*", "https://a.operators.svc/metrics", False),
        ("https://*.operators.svc:8443/*", "http://a.operators.svc:8443/metrics", False),
        ("https://*.operators.svc:8443/*", "https://a.operators.svc.evil.com:8443/metrics", False),
        ("https://*.operators.svc:8443/*", "https://evil.com:8443/x.operators.svc:8443/metrics", False),
        ("https://*.operators.svc:8443/*", "https://evil.com/a.operators.svc:8443/metrics", False),
        ("https://*.operators.svc:8443/*", "https://evil.com:8443/?a.operators.svc:8443/", False),
        ("https://*.operators.svc:8443/*", "https://a.operators.svc:8443@evil.com/metrics", False),
        ("https://a.svc", "https://a.svc:443/whatever", True),
        ("https://a.svc", "https://a.svc:8443/", False),
        ("https://a.svc:*", "https://a.svc:8443/", True),
        ("http://a.svc", "http://a.svc/metrics", True),
        ("https://a.svc/metrics", "https://a.svc/metrics?x=1", True),
        ("https://a.svc/metrics", "https://a.svc/metrics/more", False),
        ("https://a.svc/m[a-z]?rics", "https://a.svc/metrics", False),
        ("https://127.0.0.*:*/*", "https://127.0.0.2:1234/metrics", True),
        ("https://[fd00::*]:8443/*", "https://[fd00::1]:8443/metrics", True),
        ("https://*", "https://anything/at/all", True),
    ],
)
def test_a_pattern_is_held_against_each_part_of_a_url(pattern: str, url: str, *, covered: bool) -> None:
    """Else a tenant's server gets the token by a path that looks like the host."""
    assert PagesSettings(urls=(pattern,)).covers(URL(url)) == covered


def test_a_pod_is_meant_by_its_address_or_its_name() -> None:
    entry = PagesSettings(urls=("https://*.operators.pod:8443/*",))
    url = URL("https://10.0.0.1:8443/metrics")
    assert entry.covers(url, ("c-0.operators.pod",))
    assert not entry.covers(url, ("c-0.other.pod",))
    assert not entry.covers(url)
    assert PagesSettings(urls=("https://10.0.0.*:8443",)).covers(url, ("c-0.other.pod",))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"urls": ()}, "at least 1"),
        ({"urls": ("a.svc",)}, "https://HOST"),
        ({"urls": ("*://a.svc",)}, "https://HOST"),
        ({"urls": ("https://user:canary@a.svc",)}, "https://HOST"),
        ({"urls": ("https://a.svc:84*",)}, "https://HOST"),
        ({"token_file": "/t", "service_account_token": True}, "tokenFile cannot be combined"),
        ({"ca_file": "/c", "insecure_skip_verify": True}, "caFile cannot be combined"),
        ({"urls": ("http://a.svc",), "service_account_token": True}, "over https alone"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as refused:
        PagesSettings(**{"urls": ("https://a.svc",), **wrong})
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"url": "http://h/?canary=1"}, "without a query"),
        ({"url": "http://h/prometheus/api/v1"}, "the base URL, without the /api/v1/query that is added to it"),
        ({"headers": {"a b": "canary"}}, "HTTP headers"),
        ({"headers": {"X-Scope-OrgID": "a\r\ncanary: b"}}, "HTTP headers"),
        ({"headers": {"Host": "canary"}}, "Host is set by the scaler"),
        ({"headers": {"Authorization": "canary"}, "token_file": "/t"}, "tokenFile cannot be combined"),
        ({"parameters": {"query": "canary"}}, "further parameters"),
    ],
)
def test_a_prometheus_that_makes_no_sense_is_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as refused:
        PrometheusServer(**{"url": SecretStr("http://h"), **wrong})
    assert "canary" not in str(refused.value)
