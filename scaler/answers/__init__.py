"""What KEDA is told: who asks, what follows from the readings, and how it settles after faults."""
