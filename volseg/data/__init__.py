"""Volumes, raw layouts, prepared datasets, splits, preprocessing and the phantom."""
