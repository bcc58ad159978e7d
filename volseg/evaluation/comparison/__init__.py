"""`volseg compare`: two sets of predictions, case by case."""
