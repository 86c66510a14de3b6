"""What the scaler shows of itself: metrics, logs, status page."""
