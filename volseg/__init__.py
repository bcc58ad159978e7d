"""volseg: outlines of organs from stacks of MR slices.

The names of the Python API (`volseg.api`) are loaded when they are first used: `import volseg` is light.
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = [
    "Dataset",
    "PredictedMasks",
    "Run",
    "UserError",
    "Volume",
    "evaluate",
    "predict",
    "prepare",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """A name of the API, loaded now."""
    if name not in __all__:
        raise AttributeError(f"module 'volseg' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module("volseg.api"), name)


def __dir__() -> list[str]:
    """The names of the API, for completion."""
    return [*__all__, "__version__"]
