"""What predictions are worth: metrics, their confidence, and the worst of them."""

__all__: list[str] = []
