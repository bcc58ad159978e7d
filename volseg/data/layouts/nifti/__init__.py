"""Volumes with label maps: Decathlon, nnU-Net, MONAI datalists, plain folders of NIfTI."""
