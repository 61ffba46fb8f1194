"""Find the models that a study looks at, and load them with their tokenizers."""
