"""The floor of an idle process: the scaler's libraries without the scaler, `python -m bench.layers`.

It prints one line of JSON: what the process holds in MB, with one layer of libraries after the other.
"""

import json
import os
from importlib import import_module

import uvloop

LIBRARIES = {
    "grpcio, protobuf: an empty server": (
        "grpc.aio", "grpc_health.v1._async", "grpc_reflection.v1alpha.reflection", "scaler.pb.externalscaler_pb2_grpc",
    ),
    "aiohttp as client and server, aiodns": ("aiohttp.web", "aiodns"),
    "pydantic, pydantic-settings": ("pydantic_settings",),
    "botocore": ("botocore.session", "botocore.credentials", "botocore.auth", "botocore.endpoint_provider"),
    "prometheus-client, structlog, PyYAML, typer": ("prometheus_client", "scaler.core.logs", "yaml", "typer"),
}  # fmt: skip
"""By layers, in the scaler's words for them; `scaler.core.logs` is how it imports structlog."""


def _megabytes() -> float:
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - a file of the kernel
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def main() -> None:
    """Load one layer after the other, and serve gRPC as soon as that is there."""
    held = {"Python, asyncio, uvloop": _megabytes()}
    server = None
    for layer, modules in LIBRARIES.items():
        loaded = [import_module(name) for name in modules]
        if server is None:
            server = loaded[0].server()
            server.add_insecure_port("127.0.0.1:0")
            await server.start()
        held[layer] = _megabytes()
    print(json.dumps(held), flush=True)  # noqa: T201 - the protocol with the parent


if __name__ == "__main__":
    uvloop.run(main())
