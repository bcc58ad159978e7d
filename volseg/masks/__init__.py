"""What is done to masks, on numpy alone: run-length codes, post-processing and metrics."""
