"""Labelled texts: tables and lists as rows with labels, cleaned and split."""

from bert_tf._moved import moved_names

__getattr__ = moved_names(__name__)
