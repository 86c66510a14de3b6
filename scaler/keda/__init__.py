"""KEDA's and the HPA's side as code; knows nothing of sources."""
