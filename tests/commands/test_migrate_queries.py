"""What queries of exporters mean."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.commands.migrate.exporters import meaning
from scaler.commands.migrate.model import Left

QUERIES = [
    ("sum(sidekiq_busy_workers) / sum(sidekiq_workers)", ("busy", "threads", 1.0, None)),
    ("sum by (app) (sidekiq_busy_workers) / on(app) group_left sum by (app) (sidekiq_workers) * 100", ("busy", "threads", 100.0, None)),
    ("(sum(sidekiq_active_workers_count) * 100) / sum(sidekiq_concurrency)", ("busy", "threads", 100.0, None)),
    ("sum(ruby_sidekiq_process_busy) / (sum(ruby_sidekiq_process_concurrency) > 0)", None),
    ("sum(sidekiq_running_jobs) / sum(sidekiq_concurrency)", ("busy", "threads", 1.0, None)),
    ('max(sidekiq_queue_latency_seconds{name="a"})', ("latency", "", 1.0, ("a",))),
    ('max(sidekiq_queue_latency{queue=~"^(a|b)$"}) * 1000', ("latency", "", 1000.0, ("a", "b"))),
    ('sidekiq_queue_backlog{queue="a"} # comment', ("waiting", "", 1.0, ("a",))),
    ('ceil(max_over_time(sidekiq_jobs_waiting_count{queue="a"}[5m]))', ("waiting", "", 1.0, ("a",))),
    ('sum(sidekiq_queue_enqueued_jobs{name="a"}) / sum(sidekiq_queue_processes{name="a"})', ("waiting", "processes", 1.0, ("a",))),
    ('{__name__="sidekiq_queue_size", name=\'a\'}', ("waiting", "", 1.0, ("a",))),
    ('sum(sidekiq_queue_size{name=~".+"})', ("waiting", "", 1.0, None)),
    ('sum(sidekiq_queue_size{name=~"a.*"})', None),
    ('sum(sidekiq_queue_size{name!="a"})', None),
    ("rate(sidekiq_processed_jobs_total[5m])", None),
    ("sum(sidekiq_queue_size offset 5m)", None),
    ('sum(sidekiq_queue_size{name="a"}) - 5', None),
    ("sum(sidekiq_queue_size", None),
    ("(" * 200, None),
    ("sum(", None),
    ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("query", "wanted"), QUERIES)
def test_queries(query: str, wanted: tuple[str, str, float, Any] | None) -> None:
    if wanted is None:
        with pytest.raises(Left):
            meaning(query)
    else:
        found = meaning(query)
        assert (found.role, found.per, found.factor, found.queues) == wanted


@pytest.mark.parametrize(
    ("query", "advice"),
    [
        ('avg(sum(argocd_repo_pending_request_total{namespace="argocd"}) by (instance))', "component repo-server"),
        ('sum(redis_key_size{key=~"queue:a|queue:b"})', "write source sidekiq with queues"),
    ],
)
def test_what_is_not_translated_is_told_with_its_source(query: str, advice: str) -> None:
    with pytest.raises(Left, match=f"is no metric of a known exporter; .*{advice}"):
        meaning(query)


@given(st.text(alphabet="sum(){}[]\"'=~!,*/+-0159 abvector_:sidekiq\\\n", max_size=60))
def test_no_query_is_too_strange_to_be_left(query: str) -> None:
    with contextlib.suppress(Left):
        meaning(query)
