"""What predictions are worth: metrics, their confidence, the worst rows, files of results."""
