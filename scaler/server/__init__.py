"""The gRPC and HTTP servers, and what they are made of."""
