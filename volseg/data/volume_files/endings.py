"""The endings of the volumes that are read, in capitals or not."""

from typing import Literal

Format = Literal["NIfTI", "MetaImage", "NRRD"]
FORMATS: dict[str, Format] = {
    ".nii.gz": "NIfTI",
    ".nii": "NIfTI",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
    ".seg.nrrd": "NRRD",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
}
ENDINGS = tuple(FORMATS)
PROMISED = "NIfTI (.nii, .nii.gz), MetaImage (.mha, .mhd) or NRRD (.nrrd, .nhdr)"


def split_ending(name: str) -> tuple[str, str]:
    """The name without its ending, and the ending as it is written; '' where it is no volume's."""
    ending = next((known for known in ENDINGS if name.lower().endswith(known)), "")
    return (name[: -len(ending)], name[-len(ending) :]) if ending else (name, "")
