"""The in-process engine: models, conversion, generation."""
