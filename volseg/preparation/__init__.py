"""`volseg prepare`: raw datasets checked and written as NIfTI volumes."""
