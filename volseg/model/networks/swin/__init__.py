"""What makes MONAI's Swin blocks fit for a CPU: same weights, same results, fewer passes over memory."""
