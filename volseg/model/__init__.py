"""What is trained and how it is applied: networks, losses, optimizers, runs and prediction."""
