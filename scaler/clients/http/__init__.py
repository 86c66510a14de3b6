"""HTTP requests that pass the address guard, and host names."""
