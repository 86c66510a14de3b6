"""Metadata of source `sidekiq`, every key at least once."""

URL = "redis://workers:hunter2@redis.shop.svc:6380/1"

EXAMPLES = {
    "a connection by name": {"redis": "main", "queues": "default"},
    "a URL": {"redisURL": URL, "queues": "default,Low_Priority", "concurrency": "10"},
    "sentinels": {"redisURL": "redis+sentinel://:hunter2@s1:26379,s2:26379/main/0", "queues": "default"},
    "all metrics": {
        "redis": "main",
        "queues": "default",
        "queueLength": "100",
        "queueLatency": "30",
        "busyRatio": "0.5",
    },
    "the processes of a Deployment": {"redis": "main", "queues": "default", "deployment": "worker", "tag": "shop"},
    "chosen otherwise": {
        "redis": "main",
        "queues": "a",
        "hostnameRegex": "^worker-",
        "label": "x",
        "capsule": "default",
    },
    "in one step": {"redis": "main", "queues": "default", "countWaiting": "true", "holdBusy": "false"},
    "above a threshold": {"redis": "main", "queues": "default", "activationQueueLength": "10"},
    "latency alone": {"redis": "main", "queues": "default", "busyRatio": "off", "queueLatency": "30"},
    "Sidekiq Pro": {"redis": "main", "queues": "default", "superFetch": "true", "keyPrefix": "shop"},
    "idle pods first": {"redis": "main", "queues": "default", "spareBusy": "prefer"},
    "busy pods held": {"redis": "main", "queues": "default", "spareBusy": "hold", "metricType": "Value"},
    "Sidekiq 6": {"redis": "main", "queues": "default", "keyPrefix": "shop", "scheduleLeadSeconds": "0"},
}
