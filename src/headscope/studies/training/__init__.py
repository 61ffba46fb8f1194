"""Work of training: train a variant with the rewards its settings name."""
