"""How well a pretrained BERT knows text that it has not seen."""
