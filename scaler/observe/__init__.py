"""What the scaler shows about itself: metrics, the journal, the status page, explanations."""
