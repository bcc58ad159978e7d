"""The layout of Kaggle's UW-Madison GI tract competition: PNG slices, and masks in run-length codes."""
