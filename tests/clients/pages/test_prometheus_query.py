"""What a Prometheus is asked: no selector breaks out of its braces."""

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.clients.pages.prometheus_query import PrometheusPages, label_matchers
from tests.clients.pages.vectors import FAMILIES, PLACE, SELECTOR


@pytest.mark.parametrize(
    ("selector", "matchers"),
    [
        pytest.param("", "", id="none"),
        pytest.param("{}", "", id="empty braces"),
        pytest.param(SELECTOR, SELECTOR, id="two"),
        pytest.param(' { a = "1" , b!~ "2|3", } ', 'a="1",b!~"2|3"', id="braces, blanks and a comma at the end"),
        pytest.param(r'a=~"x\\.y\"z"', r'a=~"x\\.y\"z"', id="escapes"),
        pytest.param('a="} or vector(0) #"', 'a="} or vector(0) #"', id="what is quoted is only a value"),
    ],
)
def test_matchers_are_taken_as_they_are(selector: str, matchers: str) -> None:
    assert label_matchers(selector) == matchers


@pytest.mark.parametrize(
    "selector",
    [
        'a="b"} or vector(0) or x{c="d"',
        'a="b") or vector(0',
        'a="b" or c="d"',
        'a="b""',
        'a="b\\',
        'a="b\\"',
        'a="b\n"',
        r'a="\x22"',
        "a='b'",
        "a=b",
        "a",
        ",",
        'a="b",,c="d"',
        '{a="b"',
        '__name__="other"',
        'a="' + "b" * 1000 + '"',
    ],
)
def test_what_is_more_than_matchers_is_refused(selector: str) -> None:
    with pytest.raises(ValueError, match="label matchers in double quotes"):
        label_matchers(selector)


@settings(deadline=None)
@given(st.text('ab="\\{}(),=~! \n', max_size=30) | st.text(max_size=20))
def test_no_selector_breaks_out_of_its_braces(selector: str) -> None:
    try:
        matchers = label_matchers(selector)
    except ValueError:
        return
    parsed = promql_parser.parse(f"up{{{matchers}}}")
    assert isinstance(parsed, promql_parser.VectorSelector)
    assert label_matchers(matchers) == matchers


def test_the_query_asks_for_sums_and_for_targets_that_are_down_and_samples_that_are_old() -> None:
    series = '{__name__=~"active|workqueue_depth",namespace="argocd",job=~"argocd-.*"}'
    also_who_leads = series.replace("active|", "active|leader_election_master_status|process_start_time_seconds|")
    old = (
        "label_replace(max by (instance, job, pod) (time() - "
        'timestamp({}{{namespace="argocd",job=~"argocd-.*"}})) > 150, "queue_scaler_stale", "true", "", "")'
    )
    assert PLACE.query() == (
        f"sum by (__name__, controller, instance, job, name, pod) ({also_who_leads}) "
        f'or ((up{{namespace="argocd",job=~"argocd-.*"}} == 0) and on (job) '
        f"({series} or {series} offset 5m or {series} offset 30m or {series} offset 2h)) "
        f"or {old.format('active')} or {old.format('workqueue_depth')} "
        'or label_replace(absent(up{namespace="argocd",job=~"argocd-.*"}), "queue_scaler_unseen", "true", "", "")'
    )
    everything = PrometheusPages("main", "", "", FAMILIES)
    for place in (PLACE, everything):
        parsed = promql_parser.parse(place.query())
        assert isinstance(parsed, promql_parser.BinaryExpr)
        assert str(parsed.op) == "or"
