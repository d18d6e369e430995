"""Rows with labels of any shape, batches of like length, resumable streams, the predict loop."""
