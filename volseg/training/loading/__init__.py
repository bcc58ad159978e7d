"""Scans in memory, and batches of patches."""
