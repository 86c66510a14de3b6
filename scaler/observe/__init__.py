"""Shows the state of the scaler: metrics, the journal, the status page, explanations."""
