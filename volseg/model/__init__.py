"""Networks, losses, optimizers, engines, and training by several processes."""
