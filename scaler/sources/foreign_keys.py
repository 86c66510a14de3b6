"""Metadata keys of KEDA's own scalers that users may carry over, and what to use here instead."""

_METRIC_NAME = "the metric's name follows from the other keys; leave it out"
_CREDENTIALS = "the scaler reads with its own identity; leave it out, or set awsRoleArn to a role that its configuration grants to the namespace"
_REDIS = "host, port, database, user and password are one URL; write redisURLFromEnv: REDIS_URL, or redis: with a connection of the scaler's configuration"

_PAGES_TLS = "the scaler's configuration says it, for pages under `pages` and for a Prometheus under `prometheus`; triggers hold no secret"
_OF_SPEC = (
    "pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "minReplicaCount", "maxReplicaCount",
    "idleReplicaCount", "fallback", "advanced",
)  # fmt: skip

_TARGET = ("threshold", "value", "targetValue")
_ACTIVATION = ("activationThreshold", "activationValue", "activationTargetValue")
_KEDA_TLS = "KEDA takes the certificates of its connection to the scaler from a TriggerAuthentication, as caCert, tlsClientCert and tlsClientKey"
_EVERY = {
    **dict.fromkeys(("tlsCertFile", "tlsClientCertFile", "tlsKeyFile", "caCertFile"), _KEDA_TLS),
    "insecureSkipVerify": "for KEDA's connection to the scaler write unsafeSsl beside enableTLS; otherwise leave it out",
    "ignoreNullValues": "leave it out: what cannot be read is an error here, and never 0",
    **{key: f"{key} stands under spec, beside triggers, not in the metadata" for key in _OF_SPEC},
    "metricName": _METRIC_NAME,
    "name": "a trigger's name stands beside its metadata, not in it",
    "authenticationRef": "authenticationRef stands beside the metadata, not in it",
    "useCachedMetrics": "useCachedMetrics stands beside the metadata, not in it",
}
_SQS = {
    **dict.fromkeys(("awsAccessKeyID", "awsSecretAccessKey", "awsSessionToken", "podIdentity"), _CREDENTIALS),
    **dict.fromkeys(
        ("externalId", "externalID", "awsExternalId", "awsExternalID"),
        "it stands beside the role in aws.roles of the scaler's configuration; leave it out",
    ),
    **dict.fromkeys(_TARGET, "write queueLength, messages for each replica"),
    **dict.fromkeys(_ACTIVATION, "write activationQueueLength"),
    "queueName": "write queueURL, for which the name will do",
    "queueNames": "write queueURL, names with commas between them",
}
_SIDEKIQ = {
    **dict.fromkeys(
        (
            "address", "addresses", "host", "hosts", "port", "ports", "username", "password", "databaseIndex",
            "database", "db", "sentinelMaster", "sentinelUsername", "sentinelPassword",
        ),
        _REDIS,
    ),
    "queueName": "write queues",
    **dict.fromkeys(("latency", "maxLatency", "queueLatencySeconds"), "write queueLatency, in seconds"),
    "listName": "write queues, without `queue:` before the names",
    "listLength": "write queueLength, waiting jobs per process",
    "activationListLength": "write activationQueueLength",
    "query": "Sidekiq is read from Redis, not from Prometheus; leave it out",
    "serverAddress": "Sidekiq is read from Redis, not from Prometheus; leave it out",
    "namespace": "write keyPrefix for the namespace of redis-namespace; otherwise leave it out",
    **dict.fromkeys(
        ("tls", "ssl", "caFile", "ca", "cert", "key"),
        "write rediss:// in the URL; certificates belong to a connection under `redis` of the scaler's configuration",
    ),
    **dict.fromkeys(
        _TARGET,
        "write busyRatio for a share of busy threads, queueLength for waiting jobs or queueLatency for seconds",
    ),
    **dict.fromkeys(_ACTIVATION, "write activationQueueLength"),
}  # fmt: skip
_PAGES = {
    "query": "write queues and selector, from which the query is made",
    "serverAddress": "write prometheusURL, or prometheus: with a server of the scaler's configuration",
    "url": "write metricsURL",
    "valueLocation": "pages in Prometheus' format are read; leave it out",
    "format": "pages in Prometheus' format are read; leave it out",
    **dict.fromkeys(_TARGET, "write queueLength"),
    **dict.fromkeys(_ACTIVATION, "write activationQueueLength"),
    **dict.fromkeys(
        ("cortexOrgID", "queryParameters"),
        "write headers or parameters of a server under `prometheus` in the scaler's configuration",
    ),
    "queueName": "write queues",
    "labelSelector": "write podSelector for pods, or selector for series in Prometheus",
    **dict.fromkeys(
        (
            "authModes", "bearerToken", "token", "tokenFile", "username", "password", "headers", "customHeaders", "ca",
            "caFile", "cert", "certFile", "key", "keyFile", "insecureSkipVerify", "tlsSkipVerify", "serverName",
        ),
        _PAGES_TLS,
    ),
}  # fmt: skip
_WORKQUEUE = {**_PAGES, "namespace": "write podNamespace, the namespace of the pods of podSelector"}
_ARGOCD = {
    **_PAGES,
    "algorithm": "write shardingAlgorithm",
    **dict.fromkeys(_TARGET, "write queueLength, or pendingRequests for component repo-server"),
    **dict.fromkeys(_ACTIVATION, "leave it out: it is always active, and a fixed shard while it owns a cluster"),
}
_FLUX = {
    **dict.fromkeys((*_TARGET, "queueLength"), "write pendingObjects, for each replica"),
    **dict.fromkeys(("serverAddress", "query"), "Flux's objects are read from the Kubernetes API; leave it out"),
    **dict.fromkeys(_ACTIVATION, "leave it out: one object that waits is enough"),
    "namespace": "write namespaces",
    "shardKey": "write shard for the value of the label, and shardLabel for another label than Flux's own",
}
_BY_SOURCE = {"sqs": _SQS, "sidekiq": _SIDEKIQ, "workqueue": _WORKQUEUE, "argocd": _ARGOCD, "flux": _FLUX}
HINTS = {source: {key.casefold(): text for key, text in (_EVERY | keys).items()} for source, keys in _BY_SOURCE.items()}
"""By source and key, in lower case."""


def hint(key: str, source: str) -> str | None:
    """Return what to use instead of `key` in `source`, however its letters' case; None if no scaler has that key."""
    return HINTS.get(source, {}).get(key.casefold())
