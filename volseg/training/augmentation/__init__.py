"""Random patches and their variation."""
