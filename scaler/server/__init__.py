"""The gRPC and HTTP servers: `app` builds them, `service` has the five RPCs, `handlers` connects them to grpc."""
