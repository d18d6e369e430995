"""One file a head: targets, loss, metrics, the metric to keep the best by, and the rest."""
