"""SQS as its HTTP API answers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaler.clients.aws.settings import AwsSettings
from scaler.demo.contract import MISSING_KEY, REFUSED_RIGHT, Stage
from scaler.demo.proxy import Proxy
from scaler.demo.raw_http import RawServer, answer
from scaler.sources.backends import Backends

COUNTS = {
    "ApproximateNumberOfMessages": "7",
    "ApproximateNumberOfMessagesNotVisible": "2",
    "ApproximateNumberOfMessagesDelayed": "1",
}


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Answer every question with the same counts."""

    def told(counts: dict[str, str], status: int = 200, **more: str) -> bytes:
        body = {"Attributes": counts, **more} if status == 200 else {"__type": "com.amazonaws.sqs#AccessDenied"}
        return answer(json.dumps(body).encode(), status=status, headers={"Content-Type": "application/x-amz-json-1.0"})

    server = RawServer(told(COUNTS))
    await server.start()
    proxy = Proxy(server.port)
    await proxy.start()

    async def leave_out() -> None:
        server.answer = told({key: value for key, value in COUNTS.items() if not key.endswith("NotVisible")})

    async def refuse() -> None:
        server.answer = told({}, status=403)

    try:
        yield Stage(
            {"queueURL": "orders", "awsRegion": "eu-west-1", "awsEndpoint": f"http://127.0.0.1:{proxy.port}"},
            Backends(aws=AwsSettings(allowed_endpoints=("http://127.0.0.1:*",))),
            [proxy],
            {MISSING_KEY: leave_out, REFUSED_RIGHT: refuse},
        )
    finally:
        await proxy.close()
        await server.close()
