"""`volseg view`: predicted scans seen, corrected and saved in a browser."""
