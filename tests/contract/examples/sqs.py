"""Metadata of source `sqs`, every key at least once."""

ROLE = "arn:aws:iam::123456789012:role/keda-orders"
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012"

EXAMPLES = {
    "a URL": {"queueURL": f"{URL}/orders"},
    "a name, as of aws-sqs-queue": {
        "queueURL": "orders",
        "awsRegion": "eu-west-1",
        "queueLength": "7",
        "scaleOnInFlight": "false",
        "scaleOnDelayed": "true",
        "identityOwner": "operator",
    },
    "several queues": {"queueURL": f"{URL}/orders,{URL}/Mails.fifo", "holdInFlight": "false"},
    "a prefix": {"queueNamePrefix": "shop-", "awsRegion": "cn-north-1", "awsRoleArn": ROLE},
    "a prefix, but not all of it": {"queueNamePrefix": "shop-", "awsRegion": "eu-west-1", "excludeQueues": "*-test"},
    "another endpoint": {"queueURL": "orders", "awsRegion": "eu-west-1", "awsEndpoint": "http://127.0.0.1:4566"},
    "above a threshold": {"queueURL": f"{URL}/orders", "activationQueueLength": "10"},
}
