"""Pages of metrics: scraped, or read by a Prometheus before."""
