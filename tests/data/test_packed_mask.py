import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.data.packed_mask import PackedMask


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.01, 0.3, 1.0]), st.booleans())
def test_a_mask_comes_back_as_it_was_and_shares_what_it_shares(seed: int, share: float, turned: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3))
    mask, other = (rng.random(shape) < level for level in (share, 0.2))
    mask = np.asfortranarray(mask) if turned else mask

    packed = PackedMask.from_mask(mask)

    np.testing.assert_array_equal(packed.unpack(), mask)
    assert packed.unpack().T.flags.c_contiguous
    assert packed.count_shared(PackedMask.from_mask(other)) == np.count_nonzero(mask & other)


@pytest.mark.parametrize("side", [0, 63])
def test_what_is_empty_takes_no_memory(side: int) -> None:
    mask = np.zeros((64, 64, 64), bool)
    mask[side, :2, 5] = True

    assert PackedMask.from_mask(mask).bits.nbytes == 1
