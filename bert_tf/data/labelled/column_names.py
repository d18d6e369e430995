"""Usual names of the columns of labelled texts, in small letters."""

from __future__ import annotations

PAIR_NAMES = (
    ("text_a", "text_b"),
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("text1", "text2"),
    ("premise", "hypothesis"),
    ("premise", "hypo"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "answer"),
    ("query", "document"),
    ("query", "passage"),
    ("#1 string", "#2 string"),
)
"""Names of a first and second text; the first pair that fits is taken."""

TEXT_NAMES = (
    *("text", "sentence", "review", "content", "body", "message", "tweet", "comment"),
    *("utterance", "document", "passage", "question", "query", "text_a", "sentence1", "title"),
)
"""Names of a single text, the likeliest first."""

LABEL_NAMES = (
    *("label", "labels", "gold_label", "class", "category", "target", "sentiment", "intent"),
    *("is_duplicate", "quality", "entailment_judgment", "score", "rating", "stars", "y"),
)
"""Names of the label, the likeliest first."""

ALL_NAMES = frozenset(
    (*(name for pair in PAIR_NAMES for name in pair), *TEXT_NAMES, *LABEL_NAMES, "id", "index")
)
"""All of these, which hardly occur as a text or label."""
