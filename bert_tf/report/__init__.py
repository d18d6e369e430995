"""Draws what it is given: tables for the terminal."""

from bert_tf.report.tables import bar, percent, printable, shorten, table, width

__all__ = ["bar", "percent", "printable", "shorten", "table", "width"]
