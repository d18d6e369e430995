"""bert_tf in the terms of other libraries."""
