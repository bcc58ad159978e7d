"""From raw folders to batches: volumes, layouts, datasets, folds, transforms and the phantom."""
