"""A trained run on disk: its files, its config, its folds, its packages."""
