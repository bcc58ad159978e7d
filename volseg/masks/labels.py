"""The values a training label may have."""

IGNORE = 255
"""Counts neither for nor against: below the cut where `data.below_cut: ignore`."""
