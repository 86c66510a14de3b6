import pytest

from scaler.keda.client import resolve


@pytest.mark.parametrize(
    ("key", "value", "sent"),
    [
        ("queueURLFromEnv", "QUEUE", {"queueURLFromEnv": "orders"}),
        ("queueURLFromEnv", "EMPTY", {}),
        ("queueURLFromEnv", "UNSET", {}),
        ("queueURL", "QUEUE", {"queueURL": "QUEUE"}),
        ("empty", "", {"empty": ""}),
    ],
)
def test_values_from_the_environment_keep_their_key(key: str, value: str, sent: dict[str, str]) -> None:
    assert resolve({key: value}, {"QUEUE": "orders", "EMPTY": ""}) == sent
