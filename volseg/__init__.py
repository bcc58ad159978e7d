"""volseg: outlines of organs from stacks of MR slices."""

__version__ = "0.1.0"
