"""Masks of exclusive classes never overlap."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from volseg.postprocessing.pipeline import resolve_overlaps

claimed = st.integers(1, 4).flatmap(
    lambda classes: st.tuples(
        arrays.arrays(np.uint8, (classes, 3, 3, 2), elements=st.integers(0, 3)),
        arrays.arrays(bool, (classes, 3, 3, 2)),
    )
)


@given(claimed)
def test_a_voxel_goes_to_the_strongest_of_those_that_claim_it_and_of_equals_to_the_first(claimed):
    probability, masks = claimed

    found = np.stack([*resolve_overlaps(zip(probability, masks, strict=True), masks.shape[1:])])

    strongest = np.where(masks, probability.astype(int), -1).argmax(axis=0)
    for number, mask in enumerate(found):
        assert np.array_equal(mask, (strongest == number) & masks.any(axis=0))


@given(claimed)
def test_claims_that_do_not_meet_stay_as_they_are(claimed):
    probability, masks = claimed
    apart = masks & (masks.cumsum(axis=0) == 1)

    found = resolve_overlaps(zip(probability, apart, strict=True), apart.shape[1:])

    assert np.array_equal(np.stack([*found]), apart)
