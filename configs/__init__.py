"""The shipped run configurations (YAML)."""
