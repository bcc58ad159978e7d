"""Evidence for tests, from small volumes, and one or more of every step there is."""

import numpy as np
from hypothesis import strategies as st

from volseg.postprocessing import Step, StepInput
from volseg.schema import Section, union_members

SPACING = (1.5, 1.5, 3.0)  # a voxel is 6.75 mm³, a pixel 2.25 mm²
CORNERS = np.ones((3, 3, 3))
SHAPES = st.tuples(*[st.integers(1, 8)] * 3)


@st.composite
def volumes(draw, *values: int) -> np.ndarray:
    """Voxels of these values, uint8 (X, Y, Z), sparse or dense: more parts and holes than lists give."""
    shape = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    some = rng.random(shape) < draw(st.sampled_from([0.1, 0.3, 0.6, 0.9]))
    return np.where(some, rng.choice(np.array(values, np.uint8), shape), np.uint8(0))


probabilities = volumes(102, 127, 128, 255)


def evidence_of(mask, spacing_mm=SPACING, image=None, slice_axis: int = 2) -> StepInput:
    """Of a probability in 255ths, or of a mask that is certain."""
    mask = np.asarray(mask)
    probability = mask if mask.dtype == np.uint8 else mask.astype(np.uint8) * 255
    image = probability if image is None else image
    return StepInput.from_probability(probability, image=image, spacing_mm=spacing_mm, slice_axis=slice_axis)


def of_every_kind() -> list[Section]:
    """Each step, once with the first and once with the last of the values that are worth trying."""
    steps = []
    for kind in union_members(Step).values():
        tried = {key: one.examples for key, one in kind.model_fields.items() if one.examples}
        steps += [kind(**{key: tried[key][end] for key in tried}) for end in (0, -1)]
    return list(dict.fromkeys(steps))
