"""Files, processes, hardware, signals, time."""
