"""Plumbing that several sources share."""
