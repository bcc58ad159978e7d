"""Many scans over many workers: the work, the engines that run it, and the sight of it."""
