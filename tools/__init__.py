"""Writes what is generated from the models: reference pages, the chart's schema and its admission policy."""
