"""`volseg tune`: post-processing chosen on scans that the networks did not see."""
