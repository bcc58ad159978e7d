"""One component of each kind that another package can add to volseg."""
