"""`volseg plan`: a config for a dataset, a memory and a time."""
