"""DICOM as a layout: series of files as volumes, and RTSTRUCTs as their labels. Needs `volseg[dicom]`."""
