"""`volseg export`: a run as a package that predicts without torch."""
