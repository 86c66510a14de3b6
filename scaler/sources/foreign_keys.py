"""Metadata keys of KEDA's own scalers that users may carry over, and what to use here instead."""

_METRIC_NAME = "the metric's name follows from the other keys; leave it out"
_CREDENTIALS = "the scaler reads with its own identity; leave it out, or set awsRoleArn to a role that its configuration grants to the namespace"
_REDIS = "host, port, database, user and password are one URL; write redisURLFromEnv: REDIS_URL, or redis: with a connection of the scaler's configuration"

_EVERY = {
    "metricName": _METRIC_NAME,
    "name": "a trigger's name stands beside its metadata, not in it",
    "authenticationRef": "authenticationRef stands beside the metadata, not in it",
    "useCachedMetrics": "useCachedMetrics stands beside the metadata, not in it",
}
_SQS = dict.fromkeys(("awsAccessKeyID", "awsSecretAccessKey", "awsSessionToken", "podIdentity"), _CREDENTIALS)
_SIDEKIQ = {
    **dict.fromkeys(
        (
            "address", "addresses", "host", "hosts", "port", "ports", "username", "password", "databaseIndex",
            "sentinelMaster", "sentinelUsername", "sentinelPassword",
        ),
        _REDIS,
    ),
    "listName": "write queues, without `queue:` before the names",
    "listLength": "write queueLength, waiting jobs per process",
    "activationListLength": "write activationQueueLength",
    "query": "Sidekiq is read from Redis, not from Prometheus; leave it out",
    "serverAddress": "Sidekiq is read from Redis, not from Prometheus; leave it out",
    "threshold": "write busyRatio for a share of busy threads, queueLength for waiting jobs or queueLatency for seconds",
    "activationThreshold": "write activationQueueLength",
}  # fmt: skip
_PAGES = {
    "query": "write queues and selector, from which the query is made",
    "serverAddress": "write prometheusURL, or prometheus: with a server of the scaler's configuration",
    "url": "write metricsURL",
    "valueLocation": "pages in Prometheus' format are read; leave it out",
    "format": "pages in Prometheus' format are read; leave it out",
    "targetValue": "write queueLength",
    "threshold": "write queueLength",
    "activationThreshold": "write activationQueueLength",
    "activationTargetValue": "write activationQueueLength",
}
_BY_SOURCE = {"sqs": _SQS, "sidekiq": _SIDEKIQ, "workqueue": _PAGES, "argocd": _PAGES, "flux": {}}


def hint(key: str, source: str) -> str | None:
    """Return what to use instead of `key` in `source`; None if no scaler of KEDA has that key."""
    return _BY_SOURCE.get(source, {}).get(key) or _EVERY.get(key)
