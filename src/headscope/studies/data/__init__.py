"""Read the tasks and training data that a study file names."""
