"""Small random inputs for property tests: grids, tables of cases and days."""

import numpy as np
from hypothesis import strategies as st

from volseg.data.dataset import Sample

shapes = st.tuples(*[st.integers(2, 8)] * 3)
spacings = st.tuples(*[st.floats(0.5, 4.0)] * 3)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any orientation of the axes, oblique by up to 20 degrees, with its spacing."""
    axes = draw(st.permutations([0, 1, 2]))
    signs = draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3))
    turn = np.zeros((3, 3))
    for axis, (to, sign) in enumerate(zip(axes, signs, strict=True)):
        turn[to, axis] = sign
    angle = np.deg2rad(draw(st.floats(-20, 20)))
    tilt = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ turn @ np.diag(draw(spacings))
    affine[:3, 3] = draw(st.lists(st.floats(-100, 100), min_size=3, max_size=3))
    return affine


@st.composite
def datasets(draw: st.DrawFn) -> list[Sample]:
    """At least five labelled cases with one to four days each, some excluded or of the test part."""
    cases = draw(st.lists(st.integers(1, 200), min_size=5, max_size=15, unique=True))
    return [
        sample(
            f"case{case}",
            day,
            part="test" if draw(st.integers(0, 9)) == 0 and day > 0 else "train",
            excluded=draw(st.integers(0, 9)) == 0 and day > 0,
            shape=draw(st.sampled_from([(9, 7, 5), (11, 8, 5)])),
        )
        for case in cases
        for day in range(draw(st.integers(1, 4)))
    ]


def sample(case: str, day: int, **told: object) -> Sample:
    """A labelled scan of the training part unless told otherwise."""
    name = f"{case}_day{day}"
    values = {
        "part": "train",
        "source": name,
        "images": (f"images/{name}.nii.gz",),
        "labels": {"a": f"labels/{name}/a.nii.gz"},
        "shape": (9, 7, 5),
        "spacing_mm": (1.5, 1.5, 3.0),
    }
    return Sample.model_validate({"case": case, "day": day, "name": name, **values, **told})
