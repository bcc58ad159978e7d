"""DICOM out: RTSTRUCT and SEG of predicted masks, and a node that contours what it is sent."""
