"""Lists, maps and blanks of a template instead of text, as YAML, JSON, Helm and Go write them."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.commands.validate import validate
from scaler.core.errors import MetadataError
from scaler.sources.triggers import parse
from scaler.sources.wrong_types import hint

SIDEKIQ = {"source": "sidekiq", "redis": "main", "queues": "a"}
SQS = {"source": "sqs", "queueURL": "a", "awsRegion": "eu-west-1"}
WORKQUEUE = {"source": "workqueue", "metricsURL": "http://x/metrics", "queues": "a"}
PODS = {"source": "workqueue", "podNamespace": "x", "queues": "a"}
PREFIX = {"source": "sqs", "queueNamePrefix": "a", "awsRegion": "eu-west-1"}
FLUX = {"source": "flux", "controller": "kustomize-controller"}
A_MAP, A_LIST = "is a map, and what a trigger holds is text; ", "is a list, and what a trigger holds is text; "
A_BLANK = "is what a template leaves where it has no value, or none of this type; give it one"


@pytest.mark.parametrize(
    ("metadata", "key", "value", "said"),
    [
        (SIDEKIQ, "queues", '{"a": 1}', A_MAP + 'write "a"'),
        (SIDEKIQ, "queues", "{critical: 2, default: 1}", A_MAP + 'write "critical,default"'),
        (SIDEKIQ, "queues", "map[critical:2 default:1]", A_MAP + 'write "critical,default"'),
        (SIDEKIQ, "queues", "[critical default]", A_LIST + 'write "critical,default"'),
        (SIDEKIQ, "queues", '[["critical", 2], ["default", 1]]', A_LIST + 'write "critical,default"'),
        (SIDEKIQ, "queues", '[{"name": "critical"}, {"name": "default"}]', A_LIST + 'write "critical,default"'),
        (SIDEKIQ, "queues", "[]", A_LIST + "write plain text, with commas between several"),
        (SIDEKIQ, "queues", "map[]", A_MAP + "write plain text, with commas between several"),
        (SIDEKIQ, "queues", "<no value>", A_BLANK),
        (SIDEKIQ, "queues", "<nil>", A_BLANK),
        (SIDEKIQ, "queues", "%!s(int=5)", A_BLANK),
        (SIDEKIQ, "queues", "{{ .Values.queues }}", A_BLANK),
        (SQS, "queueURL", '["orders", "mail"]', A_LIST + 'write "orders,mail"'),
        (PREFIX, "excludeQueues", '["*-dlq"]', A_LIST + 'write "*-dlq"'),
        (WORKQUEUE, "queues", '["application"]', A_LIST + 'write "application"'),
        (PODS, "podSelector", '{"app": "x", "tier": "y"}', A_MAP + 'write "app=x,tier=y"; it must be a label selector'),
        (PODS, "podSelector", "map[app:x]", A_MAP + 'write "app=x"'),
        (FLUX, "namespaces", "[apps, infra]", A_LIST + 'write "apps,infra"'),
        (SIDEKIQ, "queueLength", '{"a": 1}', "is a map, and what a trigger holds is text; it must be a number"),
        (SIDEKIQ, "countWaiting", "[true]", "is a list, and what a trigger holds is text; it must be true or false"),
        (SIDEKIQ, "queueLength", "<no value>", A_BLANK + "; it must be a number"),
    ],
)
def test_what_is_right_to_write_is_said(metadata: dict[str, str], key: str, value: str, said: str) -> None:
    with pytest.raises(MetadataError) as refused:
        parse({**metadata, key: value}, "shop")
    assert str(refused.value).startswith(f"{key}: '{value}' {said}")


@pytest.mark.parametrize(
    ("metadata", "key", "value"),
    [
        (SIDEKIQ, "hostnameRegex", "[a-z]+"),
        (SIDEKIQ, "hostnameRegex", "[1]"),
        (SIDEKIQ, "tag", "[eu] shop"),
        (WORKQUEUE, "metricsURL", "http://[::1]:8080/metrics"),
        (WORKQUEUE, "queues", "node lifecycle"),
    ],
)
def test_text_with_brackets_is_text(metadata: dict[str, str], key: str, value: str) -> None:
    assert parse({**metadata, key: value}, "shop").source == metadata["source"]


@pytest.mark.parametrize("form", ['["{}"]', "[{} {}]", '{{"a": "{}"}}', "map[{}:1]", '{{"{}": "x"}}', "[http://x/ {}]"])
@pytest.mark.parametrize(
    ("metadata", "key", "value"),
    [
        ({"source": "sidekiq", "redis": "main"}, "queuesFromEnv", "canary"),
        (WORKQUEUE, "metricsURL", "http://x/metrics?token=canary"),
        (WORKQUEUE, "metricsURL", "http://user:canary@x/metrics"),
        ({"source": "workqueue", "queues": "a"}, "prometheusURL", "http://user:canary@x/"),
        ({"source": "sidekiq", "queues": "a"}, "redisURL", "redis://:canary@x"),
        (SQS, "queueURL", "https://user:canary@sqs.eu-west-1.amazonaws.com/123456789012/a"),
    ],
)
def test_no_part_of_a_secret_is_shown(metadata: dict[str, str], key: str, value: str, form: str) -> None:
    with pytest.raises(MetadataError) as refused:
        parse({**metadata, key: form.format(value, value)}, "shop")
    assert "canary" not in str(refused.value)
    assert re.search("is a (list|map), and what a trigger holds is text", str(refused.value))


@given(st.text(alphabet='[]{}:,"map ab1=\n%!(<>nil', max_size=40) | st.just("[" * 3_999), st.booleans())
def test_any_text_has_a_hint_or_none(value: str, several: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    found = hint("queues", value, several=several)
    assert found is None or found.startswith("is ")


MANIFEST = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: shop}
spec:
  scaleTargetRef: {name: shop}
  triggers:
    - type: external
      metadata: {scalerAddress: "s:9090", source: sidekiq, redis: main, queues: VALUE}
"""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": 1}, ["must be a string, and is a map", "'{\"a\": 1}' " + A_MAP + 'write "a"']),
        (["a", "b"], ["must be a string, and is a list", '\'["a", "b"]\' ' + A_LIST + 'write "a,b"']),
        (5, ['must be a string: put it in quotes, "5"']),
        (None, ["must be a string: write a value, or leave the key out", "required for source sidekiq"]),
    ],
)
def test_validate_says_it_of_yaml(tmp_path_factory: pytest.TempPathFactory, value: object, said: list[str]) -> None:
    path = tmp_path_factory.mktemp("manifests") / "shop.yaml"
    path.write_text(MANIFEST.replace("VALUE", json.dumps(value)))
    assert sorted(finding.problem for finding in validate([str(path)]).findings) == sorted(said)
