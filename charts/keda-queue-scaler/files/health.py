"""The pod of `helm test`: asks every address behind a host for its gRPC health; fails if one does not serve."""

import socket
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

host, port = sys.argv[1:]
addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
failed = False
for address in addresses:
    with grpc.insecure_channel(f"[{address}]:{port}" if ":" in address else f"{address}:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True
            )
            told = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        except grpc.RpcError as error:
            told = f"no answer: {error.details()}"
    print(f"{address}:{port} {told}", flush=True)
    failed = failed or told != "SERVING"
sys.exit(failed)
