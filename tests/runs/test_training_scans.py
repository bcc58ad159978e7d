"""What another scan may differ in from those of training, and what is told of one that differs more."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.data import volume_files
from volseg.data.preprocessing.intensity_scaling import Percentiles
from volseg.data.scan_traits import QUANTILES, ScanTraits, measure_traits
from volseg.data.volume import Volume
from volseg.runs.training_scans import TrainingScans


def scan(
    *, mm=(1.5, 1.5, 3.0), body=(350.0, 230.0, 300.0), negative=0.0, grey=0.4, contrast=0.4
) -> ScanTraits:
    """A scan whose grey values are spread evenly about a middle."""
    curve = grey + contrast * (np.array(QUANTILES) / 100 - 0.5)
    return ScanTraits(mm, body, negative, (tuple(curve.round(3).tolist()),))


TWENTY = TrainingScans.of([scan(body=(350 + i, 230 + i, 280 + 2 * i)) for i in range(20)], cases=20)


def told(other: ScanTraits, known: TrainingScans = TWENTY) -> str:
    return "; ".join(known.differences(other))


@given(
    st.lists(
        st.tuples(st.floats(0.5, 8), st.floats(20, 500), st.floats(0, 1), st.floats(0.1, 0.9)),
        min_size=1,
        max_size=8,
    )
)
def test_no_training_scan_is_outside_however_much_they_differ(values) -> None:
    scans = [scan(mm=(mm, mm, 3), body=(size, 200, size), negative=n, grey=g) for mm, size, n, g in values]
    known = TrainingScans.of(scans, cases=1_000_000)

    assert [told(one, known) for one in scans] == [""] * len(scans)


def test_a_scan_of_other_voxels_is_told_with_both_sizes() -> None:
    coarse = TrainingScans.of([scan(mm=(4.0, 4.0, 4.0))] * 5, cases=5)

    assert told(scan(), coarse) == "spacing 1.5 x 1.5 x 3 mm; training scans had 4 x 4 x 4 mm"


def test_voxels_as_other_scanners_of_the_kind_have_them_are_not_told() -> None:
    assert told(scan(mm=(1.63, 1.63, 3.0))) == ""


def test_half_of_the_slices_are_told_by_the_body_that_is_missing() -> None:
    assert told(scan(body=(350.0, 230.0, 150.0))) == (
        "150 mm of a body from head to feet; training scans had 280 to 318 mm"
    )


@pytest.mark.parametrize(("axis", "words"), [(0, "from left to right"), (1, "from front to back")])
def test_another_organ_is_told_by_the_axis_along_which_it_is_small(axis: int, words: str) -> None:
    body = [355.0, 235.0, 300.0]
    body[axis] /= 2

    assert f"mm of a body {words}" in told(scan(body=tuple(body)))


def test_a_ct_is_told_beside_mr_and_mr_beside_ct() -> None:
    ct = scan(negative=0.6)

    assert told(ct) == "60\u202f% of its voxels are below -50, as in a CT; training scans are no CTs"
    assert "so it is no CT" in told(scan(), TrainingScans.of([ct] * 20, cases=20))
    assert told(ct, TrainingScans.of([ct, scan()], cases=2)) == ""  # both were learned


def test_grey_values_of_another_contrast_are_told_and_those_of_another_height_within_training_are_not() -> (
    None
):
    many = TrainingScans.of([scan(grey=grey) for grey in (0.3, 0.35, 0.4, 0.45)], cases=20)

    assert told(scan(grey=0.37), many) == ""
    assert "grey values unlike those of any training scan: 0.3" in told(scan(grey=0.8), many)


def test_training_scans_that_differ_among_themselves_leave_more_room() -> None:
    loner = TrainingScans.of([scan(grey=0.2), scan(grey=0.6)], cases=100)  # 0.4 apart

    assert told(scan(grey=0.9), loner) == ""
    assert "grey" in told(scan(grey=0.9), TrainingScans.of([scan(grey=0.6)] * 2, cases=100))


def test_few_cases_leave_more_room_than_many() -> None:
    other = scan(body=(300.0, 230.0, 300.0))  # a sixth less than in the only training scan

    assert told(other, TrainingScans.of([scan()], cases=2)) == ""
    assert "from left to right" in told(other, TrainingScans.of([scan()], cases=50))


def test_scans_of_one_case_are_not_many_cases() -> None:
    days = [scan(), scan(), scan()]

    assert TrainingScans.of(days, cases=1) == TrainingScans.of(days[:1], cases=1)


def test_joined_scans_are_within_if_either_has_them_within() -> None:
    small = TrainingScans.of([scan(body=(50.0, 50.0, 50.0), grey=0.7)], cases=20)
    both = TWENTY.joined(small, same_scaling=True)

    assert told(scan(), both) == told(scan(body=(50.0, 50.0, 50.0), grey=0.7), both) == ""
    assert "grey" in told(scan(grey=0.7), TWENTY.joined(small, same_scaling=False))


def test_the_file_says_the_same_when_it_is_read_again_and_has_no_names(tmp_path) -> None:
    TWENTY.write(tmp_path)

    assert TrainingScans.read(tmp_path) == TWENTY
    assert set(TWENTY.model_dump()) == {"cases", "spacing_mm", "body_mm", "negative", "grey"}


@pytest.fixture(scope="module")
def real(shared_data: Path) -> dict[str, list[Volume]]:
    """Real scans: brain MR, abdominal MR and CT."""
    files = {
        "hippocampus": sorted((shared_data / "hippocampus/imagesTr").glob("*.nii.gz"))[:40],
        "chaos": sorted((shared_data / "chaos/imagesTr").glob("*.nii.gz")),
        "ct": [shared_data / "abdomen/example_ct_sm.nii.gz"],
    }
    found = {name: [volume_files.read(path) for path in paths] for name, paths in files.items()}
    return {name: images for name, images in found.items() if images}


def measured(images: list[Volume]) -> list[ScanTraits]:
    return [measure_traits([image], Percentiles()) for image in images]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hippocampus", "chaos"])
def test_no_real_scan_is_unlike_the_others_of_its_kind_and_half_of_it_and_all_foreign_ones_are(
    real: dict[str, list[Volume]], kind: str
) -> None:
    if kind not in real:
        pytest.skip(f"no real data: {kind}")
    own = measured(real[kind])
    others = [TrainingScans.of([*own[:i], *own[i + 1 :]], cases=len(own) - 1) for i in range(len(own))]
    known = TrainingScans.of(own, cases=len(own))
    halves = [Volume(one.voxels[:, :, : one.voxels.shape[2] // 2], one.affine) for one in real[kind]]
    foreign = [scan for name, images in real.items() if name != kind for scan in measured(images)]

    assert [told(scan, rest) for scan, rest in zip(own, others, strict=True)] == [""] * len(own)
    assert all(told(scan, known) for scan in foreign)
    assert sum(map(bool, (told(half, known) for half in measured(halves)))) >= 0.95 * len(halves)
    assert "as in a CT" in told(measured(real["ct"])[0], known)
