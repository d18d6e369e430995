"""Reading and writing files, for every part; knows nothing of models, texts or commands."""
