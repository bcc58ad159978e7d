"""`volseg evaluate`: predictions scored against labels."""
