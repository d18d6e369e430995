"""Texts for pretraining: documents, tokenized corpora, pairs, masks, records, vocabularies."""
