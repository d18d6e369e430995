"""Fine-tuning: from a BERT and labelled texts to a classifier, and what it is worth."""
