"""Training: where the weights start from, and how they change."""

__all__: list[str] = []
