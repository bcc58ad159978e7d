"""`volseg calibrate`: confidence fitted to the Dice of predictions."""
