"""The status page: every ScaledObject that asked lately, why it is told what it is told, and the backends behind it."""
