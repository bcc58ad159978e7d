"""`volseg train`: from a config and a prepared dataset to a run."""
