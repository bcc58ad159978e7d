"""What is measured of a scan, and that it does not depend on how the scan is stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.data.preprocessing.intensity_scaling import Percentiles, Window
from volseg.data.scan_traits import measure_traits
from volseg.data.volume import Volume, stack_affine
from volseg.errors import UserError

SHAPE = (60, 50, 30)
BODY = np.s_[10:50, 10:40, :]


def body_in_air(*, air: float = 0.0, tissue: float = 500.0) -> Volume:
    """A body of 80 x 60 x 90 mm, half of it brighter, in air."""
    voxels = np.full(SHAPE, air)
    voxels[BODY] = np.random.default_rng(0).normal(tissue, 20, (40, 30, 30))
    voxels[10:30, 10:40] += 200
    return Volume(voxels.astype(np.int16), stack_affine((2.0, 2.0), 3.0))


def test_the_body_is_measured_and_not_the_field_of_view() -> None:
    traits = measure_traits([body_in_air()], Percentiles())

    assert traits.spacing_mm == (2.0, 2.0, 3.0)
    assert traits.body_mm == pytest.approx((80, 60, 90), abs=6)  # to a cube's tip
    assert traits.negative == 0


def test_more_air_around_a_body_changes_nothing() -> None:
    scan = body_in_air()
    wider = Volume(np.pad(scan.voxels, ((20, 20), (20, 20), (0, 0))), scan.affine)
    own, other = (measure_traits([one], Percentiles()) for one in (scan, wider))

    assert other.body_mm == pytest.approx(own.body_mm, abs=6)
    assert other.grey[0] == pytest.approx(own.grey[0], abs=0.03)


@given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_how_the_axes_are_stored_changes_nothing(order, flips) -> None:
    scan = body_in_air()
    turned = scan.voxels.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    affine = np.eye(4)
    affine[:3, :3] = scan.affine[:3, :3][:, list(order)] * np.where(flips, -1, 1)

    own, other = (measure_traits([one], Percentiles()) for one in (scan, Volume(turned, affine)))

    assert other.spacing_mm == own.spacing_mm
    assert other.body_mm == pytest.approx(own.body_mm, abs=6)
    assert other.grey == own.grey


@pytest.mark.parametrize("factor", [2, 7])
def test_the_unit_of_grey_values_counts_only_where_scaling_is_by_a_window(factor: int) -> None:
    scan = body_in_air()
    brighter = scan.with_voxels((scan.voxels * factor).astype(np.int32))
    by_percentiles = [measure_traits([one], Percentiles()).grey[0] for one in (scan, brighter)]
    by_window = [measure_traits([one], Window(low=0, high=1000)).grey[0] for one in (scan, brighter)]

    assert by_percentiles[0] == pytest.approx(by_percentiles[1], abs=0.01)
    assert np.abs(np.subtract(*by_window)).mean() > 0.3


def test_air_and_fat_of_a_ct_are_negative() -> None:
    assert measure_traits([body_in_air(air=-1000, tissue=40)], Percentiles()).negative > 0.5


def test_a_constant_image_has_traits_too() -> None:
    traits = measure_traits([Volume(np.ones((5, 4, 3)), stack_affine((1.0, 1.0), 1.0))], Percentiles())

    assert np.isfinite(traits.grey).all()
    assert traits.body_mm == (5, 4, 3)


def test_voxels_that_are_no_numbers_are_refused_as_the_network_refuses_them() -> None:
    scan = body_in_air()
    broken = scan.with_voxels(np.where(scan.voxels > 0, np.inf, 0.0))

    with pytest.raises(UserError, match="NaN or infinite"):
        measure_traits([broken], Percentiles())
