"""The way back: what is sliced and prepared again is what it was."""

import csv
import json
import re

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.raw import CLASSES, SCANS, Raw, pixels
from tests.strategies import affines, shapes
from volseg.arguments import PrepareArguments
from volseg.data import phantom, volume_files, volumes_to_slices
from volseg.data.dataset import Dataset
from volseg.data.layouts import GITract
from volseg.data.layouts.gi_tract import png
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.data.volumes_to_slices.greyscale import to_grey
from volseg.errors import UserError
from volseg.preparation.prepare import prepare

REGIONS = {"background": 0, "bowel": [1, 3], "belly": [2, 3], "rest": 4}  # two of them overlap
LPS = np.diag([-1.5, -1.63, 3.0, 1.0])


def options_of(command):
    """A printed command's options, as those of the stage."""
    assert command[:2] == ("volseg", "prepare")
    given, key = {}, ""
    for word in command[3:]:
        if word.startswith("--"):
            key = word[2:].replace("-", "_")
            given[key] = []
        else:
            given[key].append(word)
    told = {key: tuple(words) for key, words in given.items()}
    told |= {"slice_mm": float(given["slice_mm"][0])}
    return told | ({"allow_gaps": True} if "allow_gaps" in given else {})


def there_and_back(source, folder, **options):
    """Slice a dataset and prepare the slices as the printed command says: (facts, dataset)."""
    done = volumes_to_slices.convert_dataset(
        source, folder / "slices", options=volumes_to_slices.SlicingOptions(**options)
    )
    settings = PrepareArguments(out=folder / "again", workers=1, **options_of(done.command))
    back = prepare(folder / "slices", options=settings)
    assert not back.failures
    return done, Dataset.load(folder / "again")


def mapping(folder):
    with (folder / "slices/mapping.csv").open(newline="") as file:
        return {line["scan"]: line for line in csv.DictReader(file)}


def listing(folder, *entries, labels=REGIONS, **told):
    """A MONAI datalist of (name, voxels, affine, labels or None)."""
    items = []
    for name, voxels, affine, label in entries:
        write_volume(Volume(voxels, affine), folder / f"{name}.nii.gz")
        items.append({"image": f"{name}.nii.gz"})
        if label is not None:
            write_volume(Volume(label, affine), folder / f"{name}_label.nii.gz")
            items[-1]["label"] = f"{name}_label.nii.gz"
    path = folder / "listing.json"
    path.write_text(json.dumps({"labels": labels, "training": items, **told}))
    return path


def to_lpi(path):
    """A file's voxels with axes to the left, back and feet, and their spacing, by nibabel alone."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asarray(image.dataobj)[::-1, ::-1, ::-1], image.header.get_zooms()


def assert_same(dataset, sample, line, image, label, values):
    """The voxels, masks and grid of a prepared scan are those of its source, turned."""
    voxels, spacing_mm = to_lpi(image)
    back = dataset.image(sample)
    restored = back.voxels * float(line["scale"]) + float(line["offset"])
    np.testing.assert_array_equal(restored, voxels)
    np.testing.assert_allclose(back.spacing_mm, spacing_mm, atol=1e-4)
    assert nibabel.aff2axcodes(back.affine) == ("L", "P", "I")
    truth, _ = to_lpi(label)
    assert set(dataset.classes) == set(values)
    for organ, some in values.items():
        np.testing.assert_array_equal(dataset.label(sample, organ), np.isin(truth, some))


def test_real_scans_come_back_voxel_for_voxel(shared_data, tmp_path):
    """CT lies as RAS with values from -1100, MR as LPS with values from -47."""
    folder = shared_data / "abdomen"
    values = dict(zip(CLASSES, (1, 2, 3), strict=True))
    pairs = {"example_ct_sm": "example_seg_gi3", "example_mr_sm": "example_seg_mr_gi3"}
    items = [
        {"image": f"{folder / image}.nii.gz", "label": f"{folder / label}.nii.gz"}
        for image, label in pairs.items()
    ]
    (tmp_path / "listing.json").write_text(json.dumps({"labels": values, "training": items}))

    done, dataset = there_and_back(tmp_path / "listing.json", tmp_path)

    lines = mapping(tmp_path)
    assert (done.scans, done.labelled, done.slices) == (2, 2, 50)
    assert done.command == ("volseg", "prepare", str(tmp_path / "slices"), "--slice-mm", "3")
    assert [line["offset"] for line in lines.values()] == ["-1100", "-47"]
    for sample, item in zip(dataset.samples, items, strict=True):
        assert_same(dataset, sample, lines[sample.name], item["image"], item["label"], values)
        assert dataset.labels(sample).any()


@st.composite
def scans(draw):
    """Voxels of any integer kind, or whole floats, and a map of labels."""
    shape = draw(shapes)
    kind, low, high = draw(
        st.sampled_from(
            [
                ("uint8", 0, 255),
                ("uint16", 0, 65_535),
                ("int8", -128, 127),
                ("int16", -32_768, 32_767),
                ("int32", 2**31 - 65_536, 2**31 - 1),
                ("uint32", 2**32 - 65_536, 2**32 - 1),
                ("float32", -1024, 3071),
                ("float64", 0, 65_535),
            ]
        )
    )
    numbers = st.integers(low, high) if kind[0] != "f" else st.integers(low, high).map(float)
    voxels = draw(hnp.arrays(kind, shape, elements=numbers))
    voxels.flat[0], voxels.flat[-1] = low, high  # the whole range, always
    return voxels, draw(affines()), draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 4)))


@given(scans())
def test_any_volume_comes_back_turned_but_unchanged(tmp_path_factory, scan):
    folder = tmp_path_factory.mktemp("any")
    source = listing(folder, ("anyone", *scan))

    done, dataset = there_and_back(source, folder)

    (sample,) = dataset.samples
    line = mapping(folder)["case1_day0"]
    assert (line["name"], line["scale"]) == ("anyone", "1")
    values = {organ: some for organ, some in REGIONS.items() if some}
    files = (folder / "anyone.nii.gz", folder / "anyone_label.nii.gz")
    assert_same(dataset, sample, line, *files, values)
    angle = np.rad2deg(nibabel.affines.obliquity(nibabel.load(files[0]).affine)).max()
    told = [text for text in done.warnings if "oblique" in text]
    assert [f"by {angle:.1f} degrees" in text for text in told] == ([True] if angle > 0.05 else [])


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_phantom_comes_back_file_for_file(tmp_path):
    phantom.write_phantom(tmp_path / "raw", cases=1, days=2, workers=1)
    prepare(tmp_path / "raw", options=PrepareArguments(out=tmp_path / "prepared", workers=1))

    done, again = there_and_back(tmp_path / "prepared", tmp_path)

    raw, written = files_of(tmp_path / "raw"), files_of(tmp_path / "slices")
    written.pop("mapping.csv")
    raw.pop("PHANTOM.txt")  # slices of volumes are not marked as synthetic
    assert written == raw
    assert (done.scans, done.labelled, done.warnings) == (3, 2, ())
    before = Dataset.load(tmp_path / "prepared")
    for one, other in zip(before.samples, again.samples, strict=True):
        assert (one.name, one.slices, one.part) == (other.name, other.slices, other.part)
        assert before.image(one).same_grid(again.image(other))


def test_real_slices_come_back_with_their_names_pixels_and_rows(shared_data, tmp_path):
    """Two scans are not square, none starts at slice 1."""
    raw = shared_data / "uwmgi_real"
    prepare(raw, options=PrepareArguments(out=tmp_path / "prepared", workers=1))

    there_and_back(tmp_path / "prepared", tmp_path)

    names = {path.relative_to(raw) for path in raw.rglob("slice_*.png")}
    written = {path.relative_to(tmp_path / "slices") for path in tmp_path.rglob("slice_*.png")}
    assert written == names
    for name in names:
        np.testing.assert_array_equal(png.read(tmp_path / "slices" / name), png.read(raw / name))
    rows, expected = ((folder / "train.csv").read_text().split() for folder in (tmp_path / "slices", raw))
    assert (rows[0], sorted(rows)) == (expected[0], sorted(expected))


def test_numbers_overlaps_gaps_and_exclusions_of_slices_are_kept(tmp_path):
    raw = Raw(tmp_path / "raw")
    raw.path(SCANS[0], 13).unlink()
    given = PrepareArguments(out=tmp_path / "prepared", workers=1, allow_gaps=True, exclude=(SCANS[2],))
    prepare(raw.root, options=given)

    done, again = there_and_back(tmp_path / "prepared", tmp_path)

    assert done.command[3:] == ("--slice-mm", "3", "--allow-gaps", "--exclude", SCANS[2])
    assert [sample.excluded for sample in again.samples] == [False, False, True, False]
    for (scan, number), image in raw.images.items():
        path = tmp_path / "slices" / raw.path(scan, number).relative_to(raw.root)
        assert path.is_file() == ((scan, number) != (SCANS[0], 13))
        if path.is_file():
            np.testing.assert_array_equal(png.read(path), image)
    rows = [line for line in raw.csv.read_text().splitlines() if "case1_day0_slice_0013" not in line]
    assert (tmp_path / "slices/train.csv").read_text().splitlines() == rows


def test_a_test_part_stays_one_and_keeps_its_labels(tmp_path):
    voxels, label = pixels(0, (5, 4, 3)), np.ones((5, 4, 3), np.uint8)
    source = listing(tmp_path, ("a", voxels, LPS, None), ("b", voxels, LPS, label))
    told = json.loads(source.read_text())
    source.write_text(json.dumps({**told, "training": told["training"][:1], "test": told["training"][1:]}))

    done, dataset = there_and_back(source, tmp_path)

    assert (done.scans, done.labelled) == (2, 1)
    assert [(one.part, one.labels is None) for one in dataset.samples] == [("train", True), ("test", False)]


class TestNames:
    def names(self, tmp_path, *names):
        entries = [(name, pixels(0, (3, 3, 2)), LPS, np.ones((3, 3, 2), np.uint8)) for name in names]
        volumes_to_slices.convert_dataset(listing(tmp_path, *entries), tmp_path / "slices")
        return {line["name"]: scan for scan, line in mapping(tmp_path).items()}

    def test_own_names_are_kept_and_others_are_numbered_around_them(self, tmp_path):
        kept = {"case2_day7": "case2_day7", "case04_day01": "case04_day01", "case5": "case5_day0"}
        days = {"anna_day3": "case1_day3", "anna_day12": "case1_day12"}
        rest = {"ben": "case3_day0", "carl": "case6_day0"}

        assert self.names(tmp_path, *kept, *days, *rest) == kept | days | rest

    def test_no_number_is_that_of_a_listed_bad_scan(self, tmp_path):
        names = self.names(tmp_path, *(f"patient{i}" for i in range(12)))

        assert len(set(names.values())) == 12
        assert not set(names.values()) & set(GITract.bad_scans)

    def test_two_scans_of_one_name_are_refused(self, tmp_path):
        told = "case5 and case5_day0: would all be called case5_day0; give each its own day, or rename it"
        with pytest.raises(UserError, match=told):
            self.names(tmp_path, "case5", "case5_day0")
        assert not (tmp_path / "slices").exists()


class TestGrey:
    @given(
        hnp.arrays(
            st.sampled_from(["float32", "float64"]),
            hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
            elements=st.floats(-1e6, 1e6, width=32),
        )
    )
    def test_rounding_is_off_by_half_a_step_at_most(self, voxels):
        found = to_grey(voxels, rescale=True)

        off = np.abs(voxels - (found.values.astype(float) * found.scale + found.offset))
        assert found.values.dtype == np.uint16
        assert off.max() <= (found.scale / 2 if found.rounded else 0) + 1e-9
        if found.rounded and voxels.max() > voxels.min():
            assert (found.values.min(), found.values.max()) == (0, 65_535)

    @pytest.mark.parametrize("value", [0.5, -0.25])
    def test_one_value_only_comes_back(self, value):
        found = to_grey(np.full((2, 2, 2), value), rescale=True)

        np.testing.assert_array_equal(found.values * found.scale + found.offset, value)

    @pytest.mark.parametrize(
        ("voxels", "words"),
        [
            ([0.5, 2], "holds fractions from 0.5 to 2, but a PNG holds 65,536 whole numbers; pass --r"),
            ([-1, 65_535], "holds values from -1 to 65535, but a PNG holds"),
            ([0.0, np.nan], "holds NaN or infinite voxels; replace them"),
            ([-1.7e308, 1.7e308], "holds values from -1.7e+308 to 1.7e+308"),
        ],
    )
    def test_what_no_png_holds_is_refused(self, voxels, words):
        with pytest.raises(UserError, match=re.escape(words)):
            to_grey(np.array(voxels).reshape(1, 1, 2), rescale="1.7" in words)

    def test_whole_numbers_are_not_touched_by_rescaling(self):
        voxels = np.array([[[-5, 7]]], np.int16)

        assert to_grey(voxels, rescale=True).rounded is False


class TestRefusals:
    def entry(self, name, slice_mm=3.0, voxels=None):
        voxels = pixels(0, (3, 4, 2)) if voxels is None else voxels
        affine = np.diag([-1.0, -1.0, -slice_mm, 1.0])
        return name, voxels, affine, np.ones((3, 4, 2), np.uint8)

    def refusal(self, source, out, **options):
        with pytest.raises(UserError) as caught:
            volumes_to_slices.convert_dataset(
                source, out, options=volumes_to_slices.SlicingOptions(**options)
            )
        return str(caught.value)

    def test_every_bad_scan_is_named_and_nothing_is_left(self, tmp_path):
        source = listing(
            tmp_path,
            self.entry("a"),
            self.entry("b", voxels=np.full((3, 4, 2), 0.5, np.float32)),
            self.entry("c"),
            self.entry("d"),
        )
        (tmp_path / "c.nii.gz").write_bytes(b"")
        (tmp_path / "c_label.nii.gz").write_bytes(b"")
        write_volume(Volume(np.full((3, 4, 2), 9, np.uint8), LPS), tmp_path / "d_label.nii.gz")

        first, second, third, *more = self.refusal(source, tmp_path / "out").splitlines()

        assert first.startswith(f"{tmp_path}/b.nii.gz: holds fractions from 0.5 to 0.5")
        assert first.endswith("pass --rescale to round them to so many steps")
        assert second.startswith(f"{tmp_path}/c.nii.gz: not a readable volume")
        assert third.startswith(f"{tmp_path}/c_label.nii.gz: not a readable volume")
        assert "d_label.nii.gz: holds the label values 9" in more[0]
        assert "d_label.nii.gz: lies on another grid" in more[1]
        assert not (tmp_path / "out").exists()

    def test_an_empty_folder_is_empty_again_after_a_fault_or_ctrl_c(self, tmp_path):
        (tmp_path / "out").mkdir()
        source = listing(tmp_path, self.entry("a"), self.entry("b"))

        def stop(done, total):
            assert list((tmp_path / "out").rglob("*.png"))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            volumes_to_slices.convert_dataset(source, tmp_path / "out", on_scan=stop)

        assert list((tmp_path / "out").iterdir()) == []

    def test_distances_of_slices_that_differ_are_refused_and_can_be_chosen(self, tmp_path):
        source = listing(tmp_path, self.entry("a"), self.entry("b", 2.03125), self.entry("c", 3.00001))
        told = "slices are 3 mm (a, c), 2.03125 mm (b) apart"

        assert self.refusal(source, tmp_path / "out") == (
            f"{told}, but a raw dataset is read with one distance; "
            "pass --slice-mm 3 or --slice-mm 2.03125, each with a folder of its own"
        )
        assert self.refusal(source, tmp_path / "out", slice_mm=5) == (
            f"--slice-mm 5: {told}; name a dataset or a distance that has some"
        )
        assert not (tmp_path / "out").exists()
        done, dataset = there_and_back(source, tmp_path, slice_mm=2.03125)
        assert [sample.name for sample in dataset.samples] == ["case2_day0"]
        assert dataset.samples[0].spacing_mm[2] == pytest.approx(2.03125, abs=1e-4)
        assert f"{source}: 2 scans of other slice distances left out: a, c" in done.warnings

    def test_labels_of_a_prepared_scan_must_lie_on_its_grid(self, tmp_path):
        raw = Raw(tmp_path / "raw")
        prepare(raw.root, options=PrepareArguments(out=tmp_path / "prepared", workers=1))
        path = tmp_path / f"prepared/labels/{SCANS[1]}/stomach.nii.gz"
        label = volume_files.read(path)
        write_volume(Volume(label.voxels, label.affine * 2), path)

        image = tmp_path / f"prepared/images/{SCANS[1]}.nii.gz"
        assert self.refusal(tmp_path / "prepared", tmp_path / "out") == (
            f"{path}: lies on another grid than {image}; prepare it again"
        )

    def test_a_folder_that_is_no_dataset_is_refused(self, tmp_path):
        assert "no dataset.json" in self.refusal(tmp_path, tmp_path / "out")


class TestChannels:
    @pytest.fixture
    def two(self, tmp_path):
        """Two channels, whose voxels are 1 and 2."""
        stack = np.stack([np.full((3, 4, 2), i, np.uint8) for i in (1, 2)], axis=-1)
        nibabel.Nifti1Image(stack, LPS).to_filename(tmp_path / "a.nii.gz")
        write_volume(Volume(np.ones((3, 4, 2), np.uint8), LPS), tmp_path / "l.nii.gz")
        told = {
            "channel_names": {"0": "T1", "1": "T2"},
            "labels": {"background": 0, "x": 1},
            "training": [{"image": "a.nii.gz", "label": "l.nii.gz"}],
        }
        path = tmp_path / "listing.json"
        path.write_text(json.dumps(told))
        return path

    @pytest.mark.parametrize(("channel", "name"), [(1, "T1"), (2, "T2")])
    def test_one_is_written(self, two, tmp_path, channel, name):
        done, dataset = there_and_back(two, tmp_path, channel=channel)

        assert (dataset.image(dataset.samples[0]).voxels == channel).all()
        assert mapping(tmp_path)["case1_day0"]["channel"] == name
        assert done.warnings == ()

    def test_the_first_unless_told_otherwise_and_then_the_others_are_named(self, two, tmp_path):
        done, dataset = there_and_back(two, tmp_path)

        assert (dataset.image(dataset.samples[0]).voxels == 1).all()
        assert done.warnings == (
            f"{two}: of its channels (1 T1, 2 T2) only the first is written; --channel N takes another",
        )

    def test_one_that_is_not_there_is_refused(self, two, tmp_path):
        with pytest.raises(UserError, match="no channel 3; its channels: 1 T1, 2 T2"):
            volumes_to_slices.convert_dataset(
                two, tmp_path / "out", options=volumes_to_slices.SlicingOptions(channel=3)
            )


def test_what_the_raw_layout_cannot_tell_is_told(tmp_path):
    values = {"background": 0, "a": 1, "b": 2}
    voxels = np.full((3, 4, 2), -1, np.int16)
    source = listing(tmp_path, ("p", voxels, np.eye(4), None), labels=values)

    done, _ = there_and_back(source, tmp_path)

    assert done.warnings == (
        f"{source}: its classes never overlap, which the raw layout can't tell; prepared from there they "
        "will be classes that may",
        f"{source}: 1 scans are written less an offset, since PNGs hold no negative values; a fixed window "
        "of intensities has to follow it (mapping.csv tells each)",
    )
