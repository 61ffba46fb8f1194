"""The files of a model, judged without torch: where they lie, whether they are whole, and what their tokenizer says."""
