"""The original checkpoint format: finding, reading, writing and converting it."""
