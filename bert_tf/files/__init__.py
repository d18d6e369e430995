"""What every part reads and writes files with; it knows nothing of models, texts or commands."""
