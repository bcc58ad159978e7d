"""Trained runs on disk: files, configs, folds and packages."""
