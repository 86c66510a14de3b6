"""Models of KEDA and the HPA, without any knowledge of sources: manifests, scaling decisions, a gRPC client."""
