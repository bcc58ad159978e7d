"""From a scan's native grid to the network's grid, and back."""
