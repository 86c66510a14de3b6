import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.errors import LimitError
from scaler.core.quota import Quota


def fill(quota: Quota, namespace: str) -> int:
    taken = 0
    while True:
        try:
            quota.take(namespace)
        except LimitError:
            return taken
        taken += 1


def test_one_namespace_gets_half_and_the_next_half_of_the_rest() -> None:
    quota = Quota(100, "limits.maxStreams")
    assert [fill(quota, namespace) for namespace in "abc"] == [50, 25, 13]


@given(st.integers(10, 1_000), st.integers(1, 5))
def test_greedy_namespaces_always_leave_room_for_the_next(limit: int, greedy: int) -> None:
    quota = Quota(limit, "limits.maxStreams")
    for namespace in range(greedy):
        fill(quota, str(namespace))
    if 2**greedy < limit:
        quota.take("next")


def test_a_share_of_its_own_is_kept_to() -> None:
    quota = Quota(10, "limits.maxScaledObjects", per_namespace=8)
    assert [fill(quota, namespace) for namespace in "ab"] == [8, 2]


def test_the_error_names_the_limit_and_whose_it_is() -> None:
    quota = Quota(10, "limits.maxScaledObjects", per_namespace=10)
    quota.take("shop", 6)
    with pytest.raises(
        LimitError, match=r"^the scaler has reached its limit of 10 \(setting limits\.maxScaledObjects\)$"
    ):
        quota.take("other", 5)
    quota = Quota(10, "limits.maxStreams")
    fill(quota, "shop")
    with pytest.raises(
        LimitError, match=r"^namespace shop has reached its share, 5 of 10 \(setting limits\.maxStreams\)$"
    ):
        quota.take("shop")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_what_is_given_back_is_free_again_and_refusals_cost_nothing(steps: list[tuple[str, bool]]) -> None:
    quota, used = Quota(6, "limits.maxStreams"), dict.fromkeys("abc", 0)
    for namespace, take in steps:
        if take:
            try:
                quota.take(namespace)
                used[namespace] += 1
            except LimitError:
                pass
        elif used[namespace]:
            quota.give_back(namespace)
            used[namespace] -= 1
        assert quota.total == sum(used.values()) <= 6
        assert quota._used == {key: count for key, count in used.items() if count}
