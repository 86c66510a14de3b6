"""Metadata of source `workqueue`, every key at least once."""

EXAMPLES = {
    "a URL": {"metricsURL": "http://prober:hunter2@controller.shop.svc:8080/metrics", "queues": "certificate"},
    "several URLs": {"metricsURL": "http://a/metrics,http://b/metrics", "queues": "a,B_c", "countActive": "false"},
    "pods": {
        "podSelector": "app=controller",
        "podNamespace": "cert-manager",
        "port": "9402",
        "scheme": "https",
        "path": "/own-metrics",
        "queues": "certificate",
        "aggregate": "max",
        "queueLength": "20",
    },
    "a Prometheus by name": {"prometheus": "main", "selector": 'job="controller"', "queues": "certificate"},
    "a Prometheus by URL": {
        "prometheusURL": "https://prober:hunter2@prometheus.shop.svc",
        "queues": "prometheus",
        "metricName": "prometheus_operator_workqueue_depth",
    },
    "above a threshold": {"metricsURL": "http://a/metrics", "queues": "a", "activationQueueLength": "10"},
}
