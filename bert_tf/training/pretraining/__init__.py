"""Pretraining: masked words and next sentences, from texts or records."""
