"""Pages of metrics: scraped from pods and URLs, or already scraped by a Prometheus."""
