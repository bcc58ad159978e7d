"""Datasets of volumes: Decathlon, nnU-Net and MONAI datalists, as their authors write them."""

import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given

from tests.strategies import affines
from volseg.arguments import PrepareArguments
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.preparation.prepare import prepare

LABELS = {"0": "background", "1": "liver", "2": "spleen"}
AFFINE = np.diag([-1.0, 1.5, 2.0, 1.0])
SHAPE = (7, 6, 5)


def image(seed=0, dtype=np.int16, shape=SHAPE):
    return np.random.default_rng(seed).integers(-99, 999, shape).astype(dtype)


def labels(seed=0, dtype=np.uint8, most=3):
    return np.random.default_rng([seed, 1]).integers(0, most, SHAPE).astype(dtype)


def save(path, voxels, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


class Decathlon:
    """Three scans in Decathlon's form, to be spoilt."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told = {"modality": {"0": "MRI"}, "labels": dict(LABELS), "training": []}
        for number in range(3):
            save(self.image(number), image(number))
            save(self.label(number), labels(number))
            names = [f"./{path.relative_to(root)}" for path in (self.image(number), self.label(number))]
            self.told["training"].append(dict(zip(("image", "label"), names, strict=True)))

    def image(self, number):
        return self.root / "imagesTr" / f"scan_{number}.nii.gz"

    def label(self, number):
        return self.root / "labelsTr" / f"scan_{number}.nii.gz"

    @property
    def json(self):
        return self.root / "dataset.json"

    def prepare(self, source=None, **settings):
        self.json.write_text(json.dumps(self.told))
        out = self.root.parent / "prepared"
        options = PrepareArguments(layout="nifti", out=out, **{"workers": 1, **settings})
        return prepare(source or self.root, options=options)

    def reason(self, name="scan_1"):
        return dict(self.prepare().failures)[name]

    def refusal(self):
        with pytest.raises(UserError) as caught:
            self.prepare()
        return str(caught.value)


@pytest.fixture
def decathlon(tmp_path):
    return Decathlon(tmp_path / "raw")


def load(path):
    return np.asarray(nibabel.load(path).dataobj)


def test_every_voxel_label_type_and_place_of_a_decathlon_dataset_is_kept(decathlon):
    prepared = decathlon.prepare()

    dataset = Dataset.load(prepared.out)
    assert dataset.classes == ("liver", "spleen")
    assert (dataset.facts.channels, dataset.facts.exclusive) == (("MRI",), True)
    assert [sample.name for sample in dataset.samples] == ["scan_0", "scan_1", "scan_2"]
    for number, sample in enumerate(dataset.samples):
        kept = nibabel.load(prepared.out / sample.images[0])
        assert kept.get_data_dtype() == np.int16
        np.testing.assert_array_equal(kept.dataobj, image(number))
        np.testing.assert_allclose(kept.affine, AFFINE)
        for value, name in ((1, "liver"), (2, "spleen")):
            mask = load(prepared.out / sample.labels[name])
            np.testing.assert_array_equal(mask, labels(number) == value)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_type_of_voxel_is_kept(decathlon, dtype):
    voxels = image(5, np.int16).clip(0, 255).astype(dtype)
    save(decathlon.image(0), voxels)

    kept = nibabel.load(decathlon.prepare().out / "images/scan_0.nii.gz")

    assert kept.get_data_dtype() == dtype
    np.testing.assert_array_equal(kept.dataobj, voxels)


def test_scaled_integers_become_the_numbers_they_stand_for(decathlon):
    header = nibabel.Nifti1Header()
    header.set_slope_inter(0.5, -10)
    header.set_data_dtype(np.int16)
    wanted = image(3, np.float32) / 2
    nibabel.save(nibabel.Nifti1Image(wanted, AFFINE, header), decathlon.image(0))

    kept = load(decathlon.prepare().out / "images/scan_0.nii.gz")

    np.testing.assert_allclose(kept, nibabel.load(decathlon.image(0)).get_fdata(), rtol=1e-6)


@given(affines())
def test_any_orientation_and_oblique_axes_are_kept(tmp_path_factory, affine):
    decathlon = Decathlon(tmp_path_factory.mktemp("oblique") / "raw")
    save(decathlon.image(0), image(), affine)
    save(decathlon.label(0), labels(), affine)

    out = decathlon.prepare().out

    for file, voxels in (("images/scan_0", image()), ("labels/scan_0/liver", labels() == 1)):
        kept = nibabel.load(out / f"{file}.nii.gz")
        np.testing.assert_array_equal(kept.dataobj, voxels)
        np.testing.assert_allclose(kept.affine, affine, atol=1e-4)


@pytest.mark.parametrize("ending", ["mha", "nrrd", "nii"])
def test_other_formats_and_plain_nifti_are_taken_and_lie_where_itk_says(decathlon, ending):
    for key, path in (("image", decathlon.image(0)), ("label", decathlon.label(0))):
        other = path.with_name(f"other.{ending}")
        sitk.WriteImage(sitk.ReadImage(str(path)), str(other))
        decathlon.told["training"][0][key] = str(other.relative_to(decathlon.root))

    out = decathlon.prepare().out

    kept = nibabel.load(out / "images/other.nii.gz")
    np.testing.assert_array_equal(kept.dataobj, image(0))
    np.testing.assert_allclose(kept.affine, AFFINE, atol=1e-5)
    np.testing.assert_array_equal(load(out / "labels/other/spleen.nii.gz"), labels(0) == 2)


def test_a_fourth_dimension_is_channels(decathlon):
    decathlon.told["modality"] = {"0": "T2", "1": "ADC"}
    stacks = [np.stack([image(2 * n), image(2 * n + 1)], axis=-1) for n in range(3)]
    for number, stack in enumerate(stacks):
        save(decathlon.image(number), stack)

    dataset = Dataset.load(decathlon.prepare().out)

    assert dataset.facts.channels == ("T2", "ADC")
    assert dataset.samples[1].images == ("images/scan_1_0000.nii.gz", "images/scan_1_0001.nii.gz")
    for channel in range(2):
        kept = dataset.image(dataset.samples[1], channel).voxels
        np.testing.assert_array_equal(kept, stacks[1][..., channel])


def test_files_named_after_a_day_are_days_of_one_case(decathlon):
    for number in range(3):
        for kind in ("image", "label"):
            path = getattr(decathlon, kind)(number)
            new = path.rename(path.with_name(f"anna_day{10 - number}.nii.gz"))
            decathlon.told["training"][number][kind] = f"{new.parent.name}/{new.name}"

    samples = Dataset.load(decathlon.prepare().out).samples

    assert [(one.case, one.day) for one in samples] == [("anna", 8), ("anna", 9), ("anna", 10)]


def test_the_test_list_has_images_without_labels(decathlon):
    save(decathlon.root / "imagesTs/scan_9.nii.gz", image(9))
    decathlon.told["test"] = ["./imagesTs/scan_9.nii.gz"]

    sample = Dataset.load(decathlon.prepare().out).select_samples("scan_9")[0]

    assert (sample.part, sample.labels) == ("test", None)


# nnU-Net


@pytest.fixture
def nnunet(tmp_path):
    """Two cases of two channels, one of them also for testing."""
    root = tmp_path / "Dataset001_Tiny"
    for number in range(2):
        for channel in range(2):
            save(root / f"imagesTr/liver_{number}_{channel:04d}.nii.gz", image(10 * number + channel))
        save(root / f"labelsTr/liver_{number}.nii.gz", labels(number, most=4))
    for channel in range(2):
        save(root / f"imagesTs/liver_7_{channel:04d}.nii.gz", image(70 + channel))
    told = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "liver": 1, "left kidney": 2, "tumour": 3},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(told))
    return root


def prepare_nnunet(root, **changes):
    path = root / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return prepare(root, options=PrepareArguments(layout="nifti", out=root.parent / "prepared", workers=1))


def test_an_nnunet_dataset_is_read_with_its_channels_classes_and_parts(nnunet):
    prepared = prepare_nnunet(nnunet)

    dataset = Dataset.load(prepared.out)
    assert dataset.classes == ("liver", "left_kidney", "tumour")
    assert dataset.facts.channels == ("CT", "PET")
    assert [(one.name, one.part) for one in dataset.samples] == [
        ("liver_0", "train"), ("liver_1", "train"), ("liver_7", "test"),
    ]  # fmt: skip
    np.testing.assert_array_equal(dataset.image(dataset.samples[1], 1).voxels, image(11))
    np.testing.assert_array_equal(dataset.label(dataset.samples[1], "tumour"), labels(1, most=4) == 3)
    assert "the class 'left kidney' is called left_kidney here" in prepared.notes[0]


def test_class_names_that_no_file_can_have_are_changed_and_told(nnunet):
    names = {"background": 0, "con": 1, "nul.gz": 2, "nul_probability": 3}

    prepared = prepare_nnunet(nnunet, labels=names)

    assert Dataset.load(prepared.out).classes == ("con_", "nul_.gz", "nul_probability_")
    assert "classes are called otherwise here: 'con' con_, 'nul.gz' nul_.gz" in prepared.notes[0]


def test_regions_of_several_values_overlap_and_are_unions(nnunet):
    regions = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "edge": 3}

    dataset = Dataset.load(prepare_nnunet(nnunet, labels=regions).out)

    assert not dataset.facts.exclusive
    whole, core, edge = dataset.labels(dataset.samples[0])
    np.testing.assert_array_equal(whole, labels(0, most=4) > 0)
    np.testing.assert_array_equal(core, labels(0, most=4) > 1)
    np.testing.assert_array_equal(edge, labels(0, most=4) > 2)


def test_a_missing_channel_or_label_spoils_only_its_case_and_is_named(nnunet):
    (nnunet / "imagesTr/liver_0_0001.nii.gz").unlink()
    (nnunet / "labelsTr/liver_1.nii.gz").unlink()
    save(nnunet / "labelsTr/liver_5.nii.gz", labels())

    prepared = prepare_nnunet(nnunet)

    assert prepared.scans == ("liver_7",)
    lines = [failure.reason for failure in prepared.failures]
    assert f"{nnunet}/labelsTr/liver_1.nii.gz: no such file; expected the label of liver_1" in lines
    assert f"{nnunet}/imagesTr/liver_5_0000.nii.gz: no such file; expected an image of liver_5" in lines


def test_channels_counted_from_1_are_no_other_cases(nnunet):
    for number in range(2):
        (nnunet / f"imagesTr/liver_{number}_0000.nii.gz").unlink()

    with pytest.raises(UserError, match=r"liver_0_0000\.nii\.gz: no such file") as caught:
        prepare_nnunet(nnunet, channel_names={"0": "PET"})

    assert "_0001_0000" not in str(caught.value)
    assert "labelsTr" not in str(caught.value)


def test_the_list_of_an_nnunet_dataset_that_names_its_files_is_followed(nnunet):
    named = {
        "patient_a": {
            "images": ["imagesTr/liver_0_0000.nii.gz", "imagesTr/liver_0_0001.nii.gz"],
            "label": "labelsTr/liver_0.nii.gz",
        }
    }

    dataset = Dataset.load(prepare_nnunet(nnunet, dataset=named).out)

    assert [one.name for one in dataset.samples] == ["patient_a"]


def test_a_label_to_ignore_is_refused_rather_than_taken_for_background(nnunet):
    with pytest.raises(UserError, match="voxels to ignore are not supported"):
        prepare_nnunet(nnunet, labels={"background": 0, "liver": 1, "ignore": 2})


# MONAI datalists


def test_a_datalist_is_read_by_its_file_and_without_names_by_its_values(decathlon):
    listing = decathlon.root / "folds.json"
    items = [{**item, "fold": n} for n, item in enumerate(decathlon.told["training"])]
    items[0]["image"] = [str(decathlon.image(0))]  # absolute, and a list of channels
    listing.write_text(json.dumps({"training": items}))

    prepared = decathlon.prepare(listing)

    dataset = Dataset.load(prepared.out)
    assert (dataset.facts.name, dataset.classes) == ("folds", ("label_1", "label_2"))
    assert any("by the values in the files the classes are label_1, label_2" in n for n in prepared.notes)
    assert any("its folds are not used" in note for note in prepared.notes)


def test_files_of_one_name_in_several_folders_are_called_after_their_folders(tmp_path):
    items = []
    for case in ("a", "b"):
        save(tmp_path / f"raw/{case}/image.nii.gz", image())
        save(tmp_path / f"raw/{case}/seg.nii.gz", labels())
        items.append({"image": f"{case}/image.nii.gz", "label": f"{case}/seg.nii.gz"})
    (tmp_path / "raw/datalist.json").write_text(json.dumps({"labels": LABELS, "training": items}))

    out = tmp_path / "out"
    prepare(tmp_path / "raw", options=PrepareArguments(layout="nifti", out=out, workers=1))

    assert [one.name for one in Dataset.load(out).samples] == ["raw_a_image", "raw_b_image"]


# What is wrong


def test_a_label_on_another_grid_is_an_error_that_shows_both(decathlon):
    moved = AFFINE.copy()
    moved[2, 3] = 0.5
    save(decathlon.label(1), labels(1), moved)

    assert decathlon.reason() == (
        f"{decathlon.label(1)}: lies on another grid (shape 7x6x5, affine [-1 0 0 0], [0 1.5 0 0], "
        f"[0 0 2 0.5]) than {decathlon.image(1)} (shape 7x6x5, affine [-1 0 0 0], [0 1.5 0 0], "
        "[0 0 2 0]); resample it to that grid"
    )


def test_a_label_whose_axes_were_merely_turned_is_turned_back(decathlon):
    whole = labels(1)
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(whole, AFFINE))
    save(decathlon.label(1), np.asarray(turned.dataobj).transpose(2, 0, 1), turned.affine[:, [2, 0, 1, 3]])

    found = Dataset.load(decathlon.prepare().out)

    sample = found.select_samples("scan_1")[0]
    for value, name in ((1, "liver"), (2, "spleen")):
        assert np.array_equal(found.label(sample, name), whole == value)


def test_the_noise_of_a_rounded_header_is_no_other_grid(decathlon):
    near = AFFINE.copy()
    near[:3, 3] += 4e-4
    save(decathlon.label(1), labels(1), near)

    assert decathlon.prepare().failures == ()


def test_label_values_that_nobody_named_are_an_error(decathlon):
    voxels = labels(1)
    voxels[0, 0, :2] = (7, 9)
    save(decathlon.label(1), voxels)

    assert decathlon.reason() == (
        f"{decathlon.label(1)}: holds the label values 7, 9, which {decathlon.json} does not name "
        "(it names 0 background, 1 liver, 2 spleen); name them there"
    )


@pytest.mark.parametrize("value", [0.5, math.nan, -1.0, 70000.0])
def test_what_is_no_map_of_labels_is_an_error(decathlon, value):
    voxels = labels(1, np.float32)
    voxels[1, 1, 1] = value
    save(decathlon.label(1), voxels)

    reason = decathlon.reason()

    assert reason.startswith(f"{decathlon.label(1)}: holds ")
    assert f" {value:g}" in reason
    assert reason.endswith("; expected a map of labels, whole numbers from 0")


def test_whole_numbers_in_floating_point_are_labels(decathlon):
    save(decathlon.label(1), labels(1, np.float64))

    dataset = Dataset.load(decathlon.prepare().out)

    np.testing.assert_array_equal(dataset.label(dataset.samples[1], "spleen"), labels(1) == 2)


def test_voxels_that_are_no_numbers_are_counted(decathlon):
    voxels = image(1, np.float32)
    voxels[0, 0, :3] = (math.nan, math.inf, -math.inf)
    save(decathlon.image(1), voxels)

    assert decathlon.reason() == (
        f"{decathlon.image(1)}: 3 voxels are NaN, infinite or beyond 1e+30; "
        "replace them by the background's value"
    )


def test_a_header_that_states_no_orientation_is_a_warning(decathlon):
    file = nibabel.Nifti1Image(image(1), None)
    nibabel.save(file, decathlon.image(1))
    nibabel.save(nibabel.Nifti1Image(labels(1), file.affine), decathlon.label(1))

    told = [one for one in decathlon.prepare().findings if one.severity == "warning"]

    assert [(one.scan, one.kind) for one in told] == [("scan_1", "header")] * 2  # image and label
    assert "left and right are a guess" in told[0].message


def test_a_scan_that_lies_otherwise_than_the_rest_is_noted(decathlon):
    save(decathlon.image(1), image(1), np.diag([1.0, 1.5, 2.0, 1.0]))
    save(decathlon.label(1), labels(1), np.diag([1.0, 1.5, 2.0, 1.0]))

    told = [one for one in decathlon.prepare().findings if one.kind == "orientation"]

    assert [(one.scan, one.severity) for one in told] == [("scan_1", "note")]
    assert told[0].message == "its voxel axes run to RAS, those of most scans to LAS"


def test_a_file_beside_the_listed_ones_is_noted(decathlon):
    save(decathlon.root / "imagesTr/scan_8.nii.gz", image())

    assert any("1 files that dataset.json does not name" in note for note in decathlon.prepare().notes)


WRONG = {
    "other lists": (lambda told: told.update(cases=told.pop("training"), test=[]), "names no scans"),
    "an empty list": (lambda told: told.update(training=[]), "names no scans"),
    "a number for a file": (
        lambda told: told["training"].append({"image": 7}),
        "training[3]: {'image': 7}; expected",
    ),
    "a scan twice": (lambda told: told["training"].append(told["training"][0]), "2 scans are called"),
    "labels that are no dict": (lambda told: told.update(labels=[1, 2]), "labels: [1, 2]; expected"),
    "only background": (
        lambda told: told.update(labels={"0": "background"}),
        "labels: names only the background",
    ),
    "a class of fractions": (
        lambda told: told.update(labels={"background": 0, "liver": 1.5}),
        "'liver' is 1.5; expected whole numbers above 0",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_listing_that_can_not_be_followed_is_refused_and_says_where(decathlon, fault):
    spoil, expected = WRONG[fault]
    spoil(decathlon.told)

    message = decathlon.refusal()

    assert str(decathlon.json) in message
    assert expected in message
    assert not (decathlon.root.parent / "prepared").exists()


def test_the_wrong_layout_is_guessed(decathlon):
    decathlon.json.write_text("{}")
    with pytest.raises(UserError, match=r"did you mean --layout nifti\?"):
        prepare(decathlon.root, options=PrepareArguments(out=decathlon.root / "out"))


# The real thing


def test_every_voxel_and_label_of_the_hippocampus_set_is_its_sources(shared_data, tmp_path):
    source = shared_data / "hippocampus"

    prepared = prepare(source, options=PrepareArguments(layout="nifti", out=tmp_path))

    dataset = Dataset.load(tmp_path)
    assert (len(dataset.samples), prepared.failures) == (195, ())
    assert dataset.classes == ("anterior", "posterior")
    assert dataset.facts.exclusive
    assert not [one for one in prepared.findings if one.severity != "note"]
    for sample in dataset.samples:
        theirs = nibabel.load(source / "imagesTr" / f"{sample.name}.nii.gz")
        ours = nibabel.load(tmp_path / sample.images[0])
        assert ours.get_data_dtype() == theirs.get_data_dtype()
        np.testing.assert_array_equal(ours.dataobj, theirs.dataobj)
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)
        label = nibabel.load(source / "labelsTr" / f"{sample.name}.nii.gz")
        merged = sum(
            value * load(tmp_path / sample.labels[name]).astype(int)
            for value, name in enumerate(dataset.classes, start=1)
        )
        np.testing.assert_array_equal(merged, label.dataobj)


def test_the_real_abdomen_keeps_its_orientations_and_overlapless_organs(shared_data, tmp_path):
    folder = shared_data / "abdomen"
    pairs = [("example_ct_sm", "example_seg_gi3"), ("example_mr_sm", "example_seg_mr_gi3")]
    told = {
        "labels": {"background": 0, "large_bowel": 1, "small_bowel": 2, "stomach": 3},
        "training": [
            {
                kind: str(folder / f"{name}.nii.gz")
                for kind, name in zip(("image", "label"), pair, strict=True)
            }
            for pair in pairs
        ],
    }
    (tmp_path / "abdomen.json").write_text(json.dumps(told))

    prepared = prepare(
        tmp_path / "abdomen.json", options=PrepareArguments(layout="nifti", out=tmp_path / "out")
    )

    assert prepared.failures == ()
    for sample, pair in zip(Dataset.load(tmp_path / "out").samples, pairs, strict=True):
        for name, source in zip((sample.images[0], None), pair, strict=True):
            theirs = nibabel.load(folder / f"{source}.nii.gz")
            if name:
                ours = nibabel.load(tmp_path / "out" / name)
                np.testing.assert_array_equal(ours.dataobj, theirs.dataobj)
                np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
            else:
                for value, organ in enumerate(("large_bowel", "small_bowel", "stomach"), start=1):
                    mask = load(tmp_path / "out" / sample.labels[organ])
                    np.testing.assert_array_equal(mask, np.asarray(theirs.dataobj) == value)


@pytest.mark.parametrize("value", [0.99999, 1.0000153, 1.0009])
def test_labels_that_are_nearly_whole_are_rounded_with_a_warning(decathlon, value):
    nearly = labels(1, np.float32)
    nearly[nearly == 1] = value
    save(decathlon.label(1), nearly)

    done = decathlon.prepare()

    dataset = Dataset.load(done.out)
    np.testing.assert_array_equal(dataset.label(dataset.samples[1], "liver"), labels(1) == 1)
    (warning,) = done.findings
    assert (warning.scan, warning.severity, warning.kind) == ("scan_1", "warning", "label values")
    assert f"{value:.7g}" in warning.message


# Cases that a listing states


@pytest.mark.parametrize("key", ["case", "subject", "patient", "patient_id", "Subject_ID", "PatientID"])
def test_case_and_day_of_an_item_come_before_those_of_the_name(decathlon, key):
    for number, stated in enumerate(({key: "anna", "day": 7}, {key: "anna"}, {key: 12, "day": "3"})):
        decathlon.told["training"][number].update(stated)

    samples = Dataset.load(decathlon.prepare().out).samples

    assert [(one.name, one.case, one.day) for one in samples] == [
        ("scan_0", "anna", 7), ("scan_1", "anna", 0), ("scan_2", "12", 3),
    ]  # fmt: skip


def test_names_like_sessions_are_told_unless_their_cases_are_stated(decathlon):
    def warnings():
        return [one for one in decathlon.prepare(check=True).findings if one.kind == "sessions"]

    decathlon.told["training"] = [
        {"image": f"p{patient}_{visit}.nii.gz", "label": str(decathlon.label(0))}
        for patient in range(4)
        for visit in range(2)
    ]
    for item in decathlon.told["training"]:
        save(decathlon.root / item["image"], image())
    (warning,) = warnings()
    assert (warning.severity, warning.scan) == ("warning", "")

    for item in decathlon.told["training"]:
        item["case"] = item["image"][:2]
    assert warnings() == []


def test_the_cases_of_nnunets_named_files_are_taken(nnunet):
    item = {"images": ["imagesTr/liver_0_0000.nii.gz", "imagesTr/liver_0_0001.nii.gz"], "case": "p", "day": 2}

    (sample,) = Dataset.load(prepare_nnunet(nnunet, dataset={"a": item}).out).samples

    assert (sample.name, sample.case, sample.day) == ("a", "p", 2)


def test_the_case_of_a_scan_that_failed_can_be_excluded(decathlon):
    decathlon.told["training"][1]["case"] = "anna"
    decathlon.image(1).unlink()

    assert decathlon.prepare(exclude=("anna",)).scans == ("scan_0", "scan_2")


# Labels in one file a class


ORGANS = ("liver", "spleen")


def organ(number, name):
    """Masks that overlap."""
    return labels(number) >= 1 + ORGANS.index(name)


def organ_files(root, number, kind=lambda mask: mask.astype(np.uint8)):
    files = {name: root / f"s{number:04d}/segmentations/{name}.nii.gz" for name in ORGANS}
    for name, path in files.items():
        save(path, kind(organ(number, name)))
    return files


def check_organs(out, classes=ORGANS):
    dataset = Dataset.load(out)
    assert dataset.classes == classes
    assert not dataset.facts.exclusive
    for number, sample in enumerate(dataset.samples):
        for name in classes:
            np.testing.assert_array_equal(dataset.label(sample, name), organ(number, name))
    return dataset


@pytest.mark.parametrize("form", ["mapping", "list", "mapping without labels"])
@pytest.mark.parametrize(
    "kind", [lambda mask: mask.astype(np.uint8), lambda mask: mask.astype(np.int16) * 255, np.float32]
)
def test_a_file_a_class_is_taken_by_name_or_in_the_order_of_the_classes(decathlon, form, kind):
    for number, item in enumerate(decathlon.told["training"]):
        files = organ_files(decathlon.root, number, kind)
        named = {name: str(path.relative_to(decathlon.root)) for name, path in files.items()}
        item["label"] = [*named.values()] if form == "list" else named
    if form == "mapping without labels":
        del decathlon.told["labels"]

    done = decathlon.prepare()

    assert [one for one in done.findings if one.severity != "note"] == []
    check_organs(done.out)


def test_one_mask_that_is_none_spoils_only_its_scan_and_each_is_named(decathlon):
    for number, item in enumerate(decathlon.told["training"]):
        item["label"] = {name: str(path) for name, path in organ_files(decathlon.root, number).items()}
    spoilt = decathlon.told["training"][1]["label"]
    save(Path(spoilt["liver"]), labels(1, np.float32) / 4)
    moved = AFFINE.copy()
    moved[0, 3] = 9
    save(Path(spoilt["spleen"]), labels(1, most=2), moved)

    done = decathlon.prepare()

    ((name, reason),) = done.failures
    assert name == "scan_1"
    assert f"{spoilt['liver']}: holds the values 0, 0.25, 0.5" in reason
    assert f"{spoilt['spleen']}: lies on another grid" in reason
    assert reason.count("save it as a mask, 0 and 1, on its image's grid") == 2
    assert "volseg prepare" not in reason


def test_a_scan_without_a_mask_of_a_class_is_told_and_not_taken_for_one_without_the_organ(decathlon):
    for number, item in enumerate(decathlon.told["training"]):
        item["label"] = {name: str(path) for name, path in organ_files(decathlon.root, number).items()}
    decathlon.told["training"][2]["label"]["spleen"] = None

    assert decathlon.reason("scan_2") == (
        "scan_2: no mask of spleen; give one for each class, an empty one where it is absent"
    )


def totalsegmentator(root, image_name="ct"):
    for number in range(3):
        save(root / f"s{number:04d}/{image_name}.nii.gz", image(number))
        organ_files(root, number)
    save(root / "s0001/segmentations/rare.nii.gz", labels(most=1))
    save(root / "s0007/ct.nii.gz", image())
    return root


@pytest.mark.parametrize("image_name", ["ct", "mri"])
def test_totalsegmentators_folder_is_taken_without_a_listing(tmp_path, image_name):
    root = totalsegmentator(tmp_path / "raw", image_name)

    done = prepare(root, options=PrepareArguments(layout="nifti", out=tmp_path / "out", workers=1))

    dataset = check_organs(done.out)
    assert dataset.facts.channels == (image_name,)
    assert [sample.name for sample in dataset.samples] == ["s0000", "s0001", "s0002"]
    assert f"{root}: left out, not in all scans: rare (in 1 of 3)" in done.notes
    assert f"{root}: left out, no segmentations in them: s0007" in done.notes


def test_classes_are_picked_in_the_order_asked_for(tmp_path, decathlon):
    root = totalsegmentator(tmp_path / "total")
    options = PrepareArguments(layout="nifti", out=tmp_path / "out", workers=1, classes=("spleen",))

    check_organs(prepare(root, options=options).out, ("spleen",))
    dataset = Dataset.load(decathlon.prepare(classes=("spleen", "liver")).out)

    assert dataset.classes == ("spleen", "liver")
    np.testing.assert_array_equal(dataset.label(dataset.samples[0], "spleen"), labels(0) == 2)
    with pytest.raises(UserError, match=r"--classes splen: no such class in .*, did you mean spleen\?"):
        decathlon.prepare(classes=("splen",))
