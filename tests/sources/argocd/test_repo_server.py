import math

import pytest

from scaler.clients.pages.exposition import Page, PageParser, Sums
from scaler.core.errors import Unavailable
from scaler.sources.argocd.repo_server import AFTER, PENDING, WANTED, pending_requests


def pages(*sums: Sums) -> list[Page]:
    return [Page(f"pod-{number}", each) for number, each in enumerate(sums)]


@pytest.mark.parametrize(
    ("sums", "expected"),
    [
        ([{PENDING: {"": 4.0}}], [4]),
        ([{PENDING: {"": 4.0}}, {PENDING: {"": 3.0}}], [4, 3]),
        ([{PENDING: {"": 4.0}}, {"go_info": {"": 1.0}}], [4, 0]),
        ([{"argocd_git_request_total": {"": 1.0}}], [0]),
        ([{"argocd_repo_parallelism_wait_duration_seconds_count": {"": 0.0}}], [0]),
    ],
    ids=["one", "two", "one just added", "nothing pending yet", "no request since the start, from 3.5 on"],
)
def test_pending_requests(sums: list[Sums], expected: list[float]) -> None:
    assert list(pending_requests(pages(*sums)).values()) == expected


@pytest.mark.parametrize(
    ("sums", "message"),
    [
        ([{"go_info": {"": 1.0}}], "none of 1 pages has argocd_repo_pending_request_total"),
        ([{PENDING: {"": math.nan}}], "no count"),
        (
            [{PENDING: {"": 0.0}}, {AFTER: {"": 1.0}}],
            f"pod-1: {AFTER} says that it had requests, but {PENDING} is missing",
        ),
        ([{PENDING: {"": 1.0}}, {PENDING: {"": math.nan}}], "pod-1: .* is no count"),
    ],
    ids=["any Go program", "NaN", "left out", "one NaN"],
)
def test_pages_that_do_not_tell_are_a_fault(sums: list[Sums], message: str) -> None:
    with pytest.raises(Unavailable, match=message):
        pending_requests(pages(*sums))


def test_all_repositories_are_added_up() -> None:
    parser = PageParser(WANTED.families)
    parser.feed(
        b"# TYPE argocd_repo_pending_request_total gauge\n"
        b'argocd_repo_pending_request_total{repo="https://example.com/a.git"} 2\n'
        b'argocd_repo_pending_request_total{repo="https://example.com/b.git"} 3\n'
        b'go_info{version="go1.25"} 1\n'
    )
    assert pending_requests([Page("pod", parser.close("its length")[0])]) == {"pod": 5.0}
