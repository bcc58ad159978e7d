"""The node: DICOM images come in by C-STORE, are contoured by rules, and the contours are sent on."""
