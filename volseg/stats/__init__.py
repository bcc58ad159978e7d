"""`volseg stats`: what a prepared dataset holds."""
