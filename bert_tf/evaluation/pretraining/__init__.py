"""How well a BERT knows text that it was not trained on."""
