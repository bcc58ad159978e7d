"""`volseg train auto`: from a prepared dataset and a time to a whole run."""
