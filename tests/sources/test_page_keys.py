import pytest
from pydantic import ValidationError

from scaler.clients.pages.exposition import Family
from scaler.clients.pages.prometheus_query import PrometheusPages
from scaler.clients.pages.reader import PodPages, UrlPages, Wanted
from scaler.core.domain import Assessment, MetricSpec, Place, Readings
from scaler.sources.base import NAMESPACE, Claim
from scaler.sources.page_keys import PageKeys

WANTED = Wanted(frozenset({Family("x")}), frozenset({"x"}))


class Keys(PageKeys):
    """Nothing but the keys."""

    def specs(self) -> tuple[MetricSpec, ...]:
        raise NotImplementedError

    def places(self) -> tuple[Place, ...]:
        raise NotImplementedError

    def claims(self) -> tuple[Claim, ...]:
        raise NotImplementedError

    def assess(self, readings: Readings, now: float) -> Assessment:
        raise NotImplementedError


def keys(**metadata: str) -> Keys:
    return Keys.model_validate({NAMESPACE: "shop", "source": "x", **metadata})


@pytest.mark.parametrize(
    ("metadata", "places", "claims"),
    [
        pytest.param(
            {"metricsURL": "http://a.svc:8082/metrics, https://b.svc./m"},
            (UrlPages("http://a.svc:8082/metrics", WANTED), UrlPages("https://b.svc./m", WANTED)),
            (Claim("url", "http://a.svc:8082/metrics"), Claim("url", "https://b.svc./m")),
            id="URLs",
        ),
        pytest.param(
            {"podSelector": "app=c"},
            (PodPages("shop", "app=c", 8080, "/metrics", WANTED),),
            (Claim("kubernetes", "shop"),),
            id="pods of the own namespace",
        ),
        pytest.param(
            {"podSelector": "app in (a, b),!c,d!=e", "podNamespace": "flux-system", "port": "8082", "path": "/m"},
            (PodPages("flux-system", "app in (a, b),!c,d!=e", 8082, "/m", WANTED),),
            (Claim("kubernetes", "flux-system"),),
            id="pods elsewhere",
        ),
        pytest.param(
            {"prometheus": "main", "selector": '{job = "c"}'},
            (PrometheusPages("main", "", 'job="c"', WANTED.families),),
            (Claim("prometheus", "main"),),
            id="a named Prometheus",
        ),
        pytest.param(
            {"prometheusURL": "http://p:9090"},
            (PrometheusPages("", "http://p:9090", "", WANTED.families),),
            (Claim("url", "http://p:9090"),),
            id="a Prometheus by URL",
        ),
        pytest.param({}, (), (), id="none"),
    ],
)
def test_keys_lead_to_places(metadata: dict[str, str], places: tuple[Place, ...], claims: tuple[Claim, ...]) -> None:
    assert keys(**metadata).page_places(WANTED) == places
    assert keys(**metadata).page_claims() == claims


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        pytest.param(
            {"metricsURL": "http://a", "podSelector": "a=b"}, "metricsURL, podSelector: give only one", id="two"
        ),
        pytest.param(
            {"prometheus": "a", "prometheusURL": "http://a"}, "prometheus, prometheusURL: give only one", id="both"
        ),
        pytest.param({"metricsURL": "http://a", "port": "80"}, "port: .*together with podSelector", id="port"),
        pytest.param({"metricsURL": "http://a", "path": "/m"}, "path: .*together with podSelector", id="path"),
        pytest.param({"podNamespace": "a"}, "podNamespace: .*together with podSelector", id="podNamespace"),
        pytest.param(
            {"podSelector": "a=b", "selector": 'a="b"'},
            "selector: .*together with prometheus or prometheusURL",
            id="selector",
        ),
        pytest.param({"metricsURL": "a.svc:8080/metrics"}, "http://HOST", id="no scheme"),
        pytest.param({"metricsURL": "ftp://a"}, "http://HOST", id="another scheme"),
        pytest.param({"metricsURL": "http:///metrics"}, "http://HOST", id="no host"),
        pytest.param({"metricsURL": "http://a:99999/"}, "http://HOST", id="no port"),
        pytest.param({"metricsURL": "http://a/\r\nX: y"}, "http://HOST", id="a line end"),
        pytest.param({"metricsURL": "http://a,,http://b"}, "empty items", id="an empty item"),
        pytest.param({"prometheusURL": "p:9090"}, "http://HOST", id="Prometheus without scheme"),
        pytest.param({"prometheusURL": "http://p:9090/api/v1/query"}, "without the /api/v1/query", id="with the path"),
        pytest.param(
            {"prometheusURL": "http://p/select/0/prometheus/api/v1/"}, "without the /api", id="VictoriaMetrics"
        ),
        pytest.param({"podSelector": "app=c&limit=1"}, "label selector", id="more than a selector"),
        pytest.param({"podSelector": "app in a"}, "label selector", id="no list"),
        pytest.param({"podSelector": ","}, "label selector", id="nothing"),
        pytest.param({"podSelector": "a=b", "podNamespace": "../x"}, "name of a namespace", id="no namespace"),
        pytest.param({"podSelector": "a=b", "path": "metrics"}, "a path", id="no path"),
        pytest.param({"podSelector": "a=b", "path": "/m?x=1"}, "a path", id="a query"),
        pytest.param({"podSelector": "a=b", "port": "0"}, "greater than or equal to 1", id="port 0"),
        pytest.param({"podSelector": "a=b", "port": "65536"}, "less than or equal to 65535", id="a large port"),
        pytest.param({"prometheus": "a", "selector": 'a="b"} or x'}, "label matchers", id="more than matchers"),
    ],
)
def test_what_makes_no_sense_is_refused(metadata: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        keys(**metadata)


def test_credentials_in_urls_are_not_shown() -> None:
    for found in (
        keys(metricsURL="http://user:canary@a/m?token=canary"),
        keys(prometheusURL="http://user:canary@a?token=canary"),
    ):
        assert "canary" not in repr(found)
        assert "canary" not in str(found.page_claims())
        assert "canary" not in repr(found.page_places(WANTED))
