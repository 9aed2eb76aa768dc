"""Protocols that the pipeline requires; adapters implement them."""
