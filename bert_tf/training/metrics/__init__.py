"""What predictions are worth: metrics, their confidence, and the worst of them."""
