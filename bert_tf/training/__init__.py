"""Training: where the weights start from, and how they change."""
