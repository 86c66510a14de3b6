"""Odd ways to write a manifest: it is rewritten, or left alone with the reason."""

import pytest

from scaler.commands.manifests import File
from scaler.commands.migrate.command import migrate, report
from scaler.commands.migrate.model import Options
from tests.commands.migrated import made, triggers

HEAD = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec:\n  scaleTargetRef: {name: a}\n  triggers:"
QUEUE = "queueURL: q\n      awsRegion: eu-west-1\n"
ODD = {
    "the reference first": (f"{HEAD}\n  - authenticationRef: {{name: x}}\n    type: aws-sqs-queue\n    metadata:\n      {QUEUE}", ""),
    "joined comment": (
        f"{HEAD}\n  - authenticationRef: {{name: x}}\n    # why\n    type: aws-sqs-queue\n    metadata:\n      {QUEUE}",
        "a comment stands between entries",
    ),
    "the metadata first": (f"{HEAD}\n  - metadata:\n      {QUEUE}    type: aws-sqs-queue", ""),
    "folded": (f"{HEAD}\n  - type: aws-sqs-queue\n    metadata:\n      identityOwner: >-\n        operator\n      {QUEUE}", ""),
    "a question mark": (f"{HEAD}\n  - type: aws-sqs-queue\n    metadata:\n      ? queueURL\n      : q\n      awsRegion: eu-west-1\n", ""),
    "many lines of braces": (f"{HEAD} [\n    {{type: aws-sqs-queue,\n     metadata: {{\n       queueURL: q,\n       awsRegion: eu-west-1,\n     }}}},\n  ]\n", ""),
    "a comment in braces": (
        f"{HEAD} [\n    {{type: aws-sqs-queue, # x\n     metadata: {{queueURL: q, awsRegion: eu-west-1}}}},\n  ]\n",
        "a comment stands between braces",
    ),
    "a merge": (
        f"{HEAD}\n  - type: kafka\n    metadata: &m\n      {QUEUE}  - type: aws-sqs-queue\n    metadata:\n      <<: *m\n",
        "takes entries over by `<<`",
    ),
    "a byte order mark": (f"\ufeff{HEAD}\n  - type: aws-sqs-queue\n    metadata:\n      {QUEUE}", ""),
    "lone dashes": (
        "".join([HEAD, *(f"\n  -\n    type: redis\n    metadata: {{address: 'r:6379', listName: 'queue:{q}'}}" for q in "ab")]),
        "does not begin on a line of its own",
    ),
    "a password": (f"{HEAD}\n  - type: redis\n    metadata: {{address: 'r:6379', password: not-told, listName: 'queue:a'}}\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_ways_to_write_it(name: str) -> None:
    text, why = ODD[name]
    result = migrate([File("a.yaml", named=True, text=text)], Options())
    said = "\n".join(report(result))
    assert (made(result) == text) == bool(why)
    assert why in said
    assert "not-told" not in said
    assert made(result).startswith("\ufeff") == text.startswith("\ufeff")
    assert made(migrate([File("a.yaml", named=True, text=made(result))], Options())) == made(result)


REDIS = f"{HEAD}\n  - type: redis\n    metricType: Value\n    metadata: {{address: 'r:6379', listName: 'queue:a'}}\n"


def test_what_a_list_becomes_is_said_where_it_is_not_the_same() -> None:
    text = (
        f"{REDIS}    authenticationRef: {{name: r}}\n---\napiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\n"
        "metadata: {name: r}\nspec:\n  secretTargetRef:\n"
        "  - {parameter: tls, name: redis, key: tls}\n  - {parameter: ca, name: redis, key: ca}\n"
    )
    said = "\n".join(report(migrate([File("a.yaml", named=True, text=text)], Options())))
    assert "metricType Value compared all waiting jobs with 5; here it is the jobs for each process" in said
    assert "tls, ca for TLS: where that is on, the connection's url begins with rediss://" in said
    plain = migrate([File("a.yaml", named=True, text=REDIS.replace("    metricType: Value\n", ""))], Options())
    assert "metricType" not in "\n".join(report(plain))
    assert "TLS" not in "\n".join(report(plain))


def test_labels_of_the_series_do_not_go_into_the_selector() -> None:
    """`up`, by which targets that are down are found, has none of them."""
    query = 'sum(workqueue_depth{name="q",controller="q",priority="0",namespace="shop",job!="x"})'
    text = (
        f"{HEAD}\n  - type: prometheus\n    metadata: {{serverAddress: 'http://p', query: '{query}', threshold: '5'}}\n"
    )
    done = migrate([File("a.yaml", named=True, text=text)], Options())
    (trigger,) = triggers(made(done))
    assert (trigger["queues"], trigger["selector"]) == ("q", 'namespace="shop",job!="x"')
    assert "all priorities of the queue count" in "\n".join(report(done))
