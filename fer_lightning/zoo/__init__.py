"""Trained models by name: those of zoo.yaml, which come with the suite or from the Hugging Face Hub."""
