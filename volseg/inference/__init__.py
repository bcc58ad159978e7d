"""`volseg infer` and `volseg submit`: masks of scans, and the competition's file of them."""
