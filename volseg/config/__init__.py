"""The config of a run: its sections, its YAML files, its overrides."""
