"""AWS: roles, endpoints, credentials and signatures."""
