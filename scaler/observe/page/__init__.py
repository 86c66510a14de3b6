"""The status page: all recent ScaledObjects, what KEDA is told about them and why, and their backends."""
