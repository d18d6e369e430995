"""Every way out of a model."""
