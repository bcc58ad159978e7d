"""Volumes listed in a JSON file: what is wrong with one scan, and what with the whole."""

import gzip
import json
import os
import struct

import nibabel
import numpy as np
import pytest

from volseg.arguments import PrepareArguments
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.preparation.prepare import prepare

SHAPE, AFFINE = (8, 9, 7), np.diag([-1.0, -1.0, 2.0, 1.0])
BAD, GOOD = "scan_1", ("scan_0", "scan_2")


def voxels(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(1, 1000, shape).astype(np.int16)


def labels(kind=np.uint8, shape=SHAPE):
    drawn = np.zeros(shape, kind)
    drawn[2:4, 2:5, 2:5], drawn[5:7, 4:7, 1:4] = 1, 2
    return drawn


def save(path, array, affine=AFFINE):
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


class Listed:
    """Three labelled volumes and the JSON of the Decathlon that names them, to be spoilt."""

    def __init__(self, root):
        self.root = root
        root.mkdir()
        self.told = {"labels": {"0": "background", "1": "a", "2": "b"}, "training": []}
        for i in range(3):
            image, label = f"imagesTr/scan_{i}.nii.gz", f"labelsTr/scan_{i}.nii.gz"
            save(root / image, voxels(i))
            save(root / label, labels())
            self.told["training"].append({"image": image, "label": f"./{label}"})
        self.save()

    @property
    def json(self):
        return self.root / "dataset.json"

    @property
    def image(self):
        return self.root / f"imagesTr/{BAD}.nii.gz"

    @property
    def label(self):
        return self.root / f"labelsTr/{BAD}.nii.gz"

    def save(self, **changed):
        self.told.update(changed)
        self.json.write_text(json.dumps(self.told))


@pytest.fixture
def listed(tmp_path):
    return Listed(tmp_path / "raw")


def run(listed, **settings):
    out = listed.root.parent / "prepared"
    return prepare(listed.root, options=PrepareArguments(layout="nifti", out=out, workers=1, **settings))


def test_a_scan_that_moves_to_the_test_part_is_prepared_anew(listed):
    """Though neither its files nor its labels change: training must not have it any more."""
    run(listed)
    *kept, moved = listed.told["training"]
    listed.save(training=kept, test=[moved])

    again = run(listed)

    assert again.unchanged == ("scan_0", "scan_1")
    parts = {sample.name: sample.part for sample in Dataset.load(again.out).samples}
    assert parts == {"scan_0": "train", "scan_1": "train", "scan_2": "test"}


def test_untouched_volumes_are_prepared_without_a_word(listed):
    done = run(listed)

    assert done.findings == ()
    dataset = Dataset.load(done.out)
    assert (dataset.classes, dataset.facts.exclusive) == (("a", "b"), True)
    for i, entry in enumerate(dataset.samples):
        np.testing.assert_array_equal(dataset.image(entry).voxels, voxels(i))
        np.testing.assert_array_equal(dataset.labels(entry), [labels() == 1, labels() == 2])


# One scan


def with_image(array, affine=AFFINE):
    return lambda listed: save(listed.image, array, affine)


def with_label(array, affine=AFFINE):
    return lambda listed: save(listed.label, array, affine)


def one_voxel(array, value):
    array[0, 0, 0] = value
    return array


def voxels_of(size_mm):
    """Both files with this in their header, which nibabel would not write."""

    def spoil(listed):
        rows = np.diag([size_mm, 1, 1, 1]).astype(np.float32)[:3]
        for path in (listed.image, listed.label):
            data = bytearray(gzip.decompress(path.read_bytes()))
            data[252:256] = struct.pack("<2h", 0, 1)  # qform and sform codes
            data[280:328] = rows.tobytes()
            path.write_bytes(gzip.compress(bytes(data)))

    return spoil


def loop(listed):
    listed.image.unlink()
    listed.image.symlink_to(listed.image)


def pipe(listed):
    listed.image.unlink()
    os.mkfifo(listed.image)


def folder(listed):
    listed.label.unlink()
    listed.label.mkdir()


RGB = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
WHOLE = "expected a map of labels, whole numbers from 0"
NAMED = "which {json} does not name (it names 0 background, 1 a, 2 b); name them there"
GRID = "affine [-1 0 0 0], [0 -1 0 0], [0 0 2 0])"
NONE = "no such file; expected"
SCAN_FAULTS = {
    "no image": (lambda listed: listed.image.unlink(), f"{{image}}: {NONE} an image of {BAD}"),
    "no label": (lambda listed: listed.label.unlink(), f"{{label}}: {NONE} the label of {BAD}"),
    "a loop of links": (
        loop,
        f"{{image}}: a broken link to {{image}}; restore that file; expected an image of {BAD}",
    ),
    "a pipe": (pipe, f"{{image}}: {NONE} an image of {BAD}"),
    "a folder": (folder, f"{{label}}: is a folder; expected the label of {BAD}"),
    "zero bytes": (
        lambda listed: listed.image.write_bytes(b""),
        "{image}: not a readable volume (zero bytes; copy or download it again)",
    ),
    "other place": (
        with_label(labels(), np.diag([1.0, 1, 2, 1])),
        "{label}: lies on another grid (shape 8x9x7, affine [1 0 0 0], [0 1 0 0], [0 0 2 0]) "
        "than {image} (shape 8x9x7, " + GRID + "; resample it to that grid",
    ),
    "other shape": (
        with_label(labels(shape=(8, 9, 8))),
        "{label}: lies on another grid (shape 8x9x8, " + GRID + " than {image} "
        "(shape 8x9x7, " + GRID + "; resample it to that grid",
    ),
    "unnamed value": (
        with_label(one_voxel(labels(), 7)),
        "{label}: holds the label values 7, " + NAMED,
    ),
    "an image for a label": (
        with_label(np.arange(504).astype(np.int16).reshape(SHAPE)),
        "{label}: holds the label values 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ... and 491 more values, "
        + NAMED,
    ),
    "fractions": (
        with_label(labels(np.float32) / 2),
        "{label}: holds 18 values that are no whole numbers, such as 0.5; " + WHOLE,
    ),
    "NaN label": (
        with_label(one_voxel(labels(np.float32), np.nan)),
        "{label}: holds 1 values that are no whole numbers, such as nan; " + WHOLE,
    ),
    "negative label": (
        with_label(one_voxel(labels(np.int16), -1)),
        "{label}: holds values from -1 to 2; " + WHOLE,
    ),
    "NaN": (
        with_image(one_voxel(voxels().astype(np.float32), np.nan)),
        "{image}: 1 voxels are NaN, infinite or beyond 1e+30; replace them by the background's value",
    ),
    "too large to be squared": (
        with_image(one_voxel(voxels().astype(np.float64), -1e300)),
        "{image}: 1 voxels are NaN, infinite or beyond 1e+30; replace them by the background's value",
    ),
    "complex": (
        with_image(voxels().astype(np.complex64)),
        "{image}: its voxels are complex64; expected one number each",
    ),
    "RGB": (
        with_image(RGB),
        "{image}: its voxels are [('R', 'u1'), ('G', 'u1'), ('B', 'u1')]; expected one number each",
    ),
    "more channels": (
        with_image(voxels(shape=(*SHAPE, 2))),
        "{image}: 2 channels; {json} names 1: image",
    ),
    "five dimensions": (
        with_image(voxels(shape=(*SHAPE, 3, 2))),
        "{image}: its shape is (8, 9, 7, 3, 2); expected a 3D volume",
    ),
    "a label of four dimensions": (
        with_label(labels(shape=(*SHAPE, 3))),
        "{label}: has 4 dimensions (8, 9, 7, 3); expected a 3D volume",
    ),
    "no volume": (
        voxels_of(0),
        "{image}: its affine has no volume; expected voxel sizes above 0 mm\n"
        "{label}: its affine has no volume; expected voxel sizes above 0 mm",
    ),
    "kilometres": (
        voxels_of(1e6),
        "{image}: voxels of 1e+06 x 1 x 1 mm; expected 0.001 to 1000 mm\n"
        "{label}: voxels of 1e+06 x 1 x 1 mm; expected 0.001 to 1000 mm",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", SCAN_FAULTS)
def test_a_fault_of_one_volume_is_told_and_spoils_only_that_scan(listed, fault):
    spoil, expected = SCAN_FAULTS[fault]
    spoil(listed)

    done = run(listed)

    reason = expected.format(image=listed.image, label=listed.label, json=listed.json)
    assert done.failures == ((BAD, reason),)
    assert [entry.name for entry in Dataset.load(done.out).samples] == list(GOOD)


# The whole


def item(**changed):
    return lambda told: {"training": [*told["training"][1:], {**told["training"][0], **changed}]}


ITEM = 'expected {{"image": FILE or [FILE, ...], "label": FILE or {{CLASS: FILE, ...}}}}'
ABOVE = "expected whole numbers above 0"
WHOLE_FAULTS = {
    "item is a number": (lambda _: {"training": [5]}, f"training[0]: 5; {ITEM}"),
    "item is null": (lambda _: {"training": [None]}, f"training[0]: None; {ITEM}"),
    "list is a number": (lambda _: {"training": 5}, f"training[0]: 5; {ITEM}"),
    "deep nesting": (
        lambda _: {"training": json.loads("[" * 500 + "]" * 500)},
        f"training[0]: {'[' * 57}...; {ITEM}",
    ),
    "image is a number": (lambda _: {"training": [{"image": 5}]}, "training[0]: {{'image': 5}}; "),
    "image is empty": (lambda _: {"training": [{"image": ""}]}, "training[0]: {{'image': ''}}; "),
    "image in a list too many": (
        lambda _: {"training": [{"image": [["a"]]}]},
        "training[0]: {{'image': [['a']]}}; ",
    ),
    "image with a NUL": (
        lambda _: {"training": [{"image": "a\0.nii"}]},
        "training[0]: {{'image': 'a\\x00.nii'}}; ",
    ),
    "image longer than a file's name": (
        lambda _: {"training": [{"image": "x" * 5000}]},
        "training[0]: {{'image': 'xxxxxxxx",
    ),
    "three labels of two classes": (item(label=["a", "b", "c"]), "training[2]: "),
    "a label of another class": (item(label={"c": "c.nii"}), "masks of c, which its labels do not name"),
    "a case above the folder": (
        item(case="../x"),
        "training[2]: case '../x' can't be a case: it begins with '.'",
    ),
    "a case in a list": (item(patient=["x"]), "training[2]: patient ['x'] can't be a case: it is no text"),
    "a day in words": (item(day="first"), "training[2]: day 'first'; expected a whole number"),
    "scan above the folder": (item(image=".."), "'..' can't be a scan's name"),
    "hidden scan": (item(image="imagesTr/.x.nii.gz"), "'.x' can't be a scan's name"),
    "scan twice": (
        lambda told: {"training": told["training"] * 2},
        "2 scans are called raw_imagesTr_scan_0; keep one or rename the files",
    ),
    "labels as a list": (
        lambda _: {"labels": ["background", "a"]},
        "labels: ['background', 'a']; expected {{\"0\": \"background\", ...}}",
    ),
    "label is null": (lambda _: {"labels": {"1": None}}, f"labels: '1' is None; {ABOVE}"),
    "label is nested": (lambda _: {"labels": {"a": {}}}, f"labels: 'a' is {{{{}}}}; {ABOVE}"),
    "label is negative": (lambda _: {"labels": {"a": -1}}, f"labels: 'a' is -1; {ABOVE}"),
    "label is a fraction": (lambda _: {"labels": {"a": 1.5}}, f"labels: 'a' is 1.5; {ABOVE}"),
    "label is true": (lambda _: {"labels": {"a": True}}, f"labels: 'a' is True; {ABOVE}"),
    "label is a superscript": (lambda _: {"labels": {"²": "a"}}, f"labels: '²' is 'a'; {ABOVE}"),
    "value is a superscript": (lambda _: {"labels": {"a": "²"}}, f"labels: 'a' is '²'; {ABOVE}"),
    "label has 5000 digits": (lambda _: {"labels": {"9" * 5000: "a"}}, "labels: '9999"),
    "no region": (lambda _: {"labels": {"a": []}}, f"labels: 'a' is []; {ABOVE}"),
    "only background": (lambda _: {"labels": {"0": "background"}}, "labels: names only the"),
    "two classes of one name": (
        lambda _: {"labels": {"1": "a", "2": "a"}},
        "labels: two classes would be called a",
    ),
    "two classes of one file name": (
        lambda _: {"labels": {"1": "a b", "2": "a/b"}},
        "labels: two classes would be called a_b",
    ),
    "ignored label": (lambda _: {"labels": {"a": 1, "ignore": 2}}, "labels: voxels to ignore are"),
}


@pytest.mark.parametrize("fault", WHOLE_FAULTS)
def test_a_fault_of_the_listing_is_told_alone_and_nothing_is_written(listed, fault):
    change, expected = WHOLE_FAULTS[fault]
    listed.save(**change(listed.told))

    (problem, *others) = run(listed, check=True).problems
    with pytest.raises(UserError) as caught:
        run(listed)

    assert problem.startswith(f"{listed.json}: {expected.format()}")
    assert all("scans are called" in other for other in others)
    assert str(caught.value).startswith(problem)
    assert not (listed.root.parent / "prepared").exists()


def test_of_many_items_with_faults_the_first_ten_are_told(listed):
    listed.save(training=[{"image": 5}] * 40)

    problems = run(listed, check=True).problems

    assert len(problems) == 11
    assert problems[-1] == "... and 30 more faults"


def test_where_names_of_labels_are_wrong_no_file_is_blamed_for_it(listed):
    listed.save(labels={"a": -1, "b": 2})

    assert run(listed, check=True).failures == ()


FORMS = {
    "a list": b"[1, 2]",
    "null": b"null",
    "a number": b"5",
    "empty": b"",
    "no text": b"\xff\xfe\0{",
    "deeper than Python goes": b"[" * 200_000,
    "5000 digits": b'{"labels": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"labels": {"1": "a", "1": "b"}, "training": ["a.nii"]}',
    "half a character": b'{"channel_names": {"0": "\\udcff"}, "training": ["a.nii"]}',
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_listing_is_refused_in_one_line(listed, form):
    listed.json.write_bytes(FORMS[form])

    with pytest.raises(UserError) as caught:
        run(listed)

    assert str(caught.value).startswith(f"{listed.json}: not a ")
    assert "expected dataset.json of Decathlon or nnU-Net" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_odd_but_right_listings_are_taken(listed):
    """A byte order mark, UTF-16, absolute paths, spaces and letters of all countries, null for none."""
    odd = listed.root / "imagesTr" / "Größe é ☃ [1].nii.gz"
    listed.image.rename(odd)
    absolute = {"image": str(odd), "label": str(listed.label)}
    test = {"image": ["imagesTr/scan_2.nii.gz"], "label": None}
    told = {**listed.told, "modality": None, "training": [absolute], "test": [test]}
    for text in ("utf-8-sig", "utf-16"):
        listed.json.write_bytes(json.dumps(told).encode(text))

        done = run(listed)

        assert done.scans == ("Größe é ☃ [1]", "scan_2")
        assert Dataset.load(done.out).select_samples("scan_2")[0].labels is None


def test_class_names_become_file_names_and_a_note_says_so(listed):
    listed.save(labels={"1": "../../etc", "2": "x" * 300})

    done = run(listed)

    assert Dataset.load(done.out).classes == ("etc", "x" * 60)
    (note,) = done.notes
    assert note.startswith(f"{listed.json}: classes are called otherwise here: '../../etc' etc, 'xxx")
    assert (done.out / f"labels/{BAD}/etc.nii.gz").is_file()


def test_the_sources_own_dataset_json_is_never_replaced(listed):
    before = listed.json.read_bytes()
    options = PrepareArguments(layout="nifti", out=listed.root, workers=1)

    with pytest.raises(UserError) as caught:
        prepare(listed.root, options=options)

    expected = "was not written by `volseg prepare`; choose another --out"
    assert str(caught.value) == f"{listed.json}: {expected}"
    assert listed.json.read_bytes() == before
    assert not (listed.root / "images").exists()


# nnU-Net


@pytest.fixture
def nnunet(listed):
    for path in (listed.root / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    del listed.told["training"]
    listed.save(labels={"background": 0, "a": 1, "b": 2}, channel_names={"0": "t1"}, file_ending=".nii.gz")
    return listed


def test_volumes_of_nnunet_are_named_without_their_channel(nnunet):
    done = run(nnunet)

    assert done.findings == ()
    assert done.scans == ("scan_0", BAD, "scan_2")


def test_a_label_whose_case_ends_in_four_digits_is_no_channel(nnunet):
    for folder, name in (("imagesTr", "x_0003_0000.nii.gz"), ("labelsTr", "x_0003.nii.gz")):
        save(nnunet.root / folder / name, labels())

    assert "x_0003" in run(nnunet).scans


def test_a_channel_that_is_missing_before_the_last_is_missed(nnunet):
    nnunet.save(channel_names={"0": "t1", "1": "t2"})
    for i in range(3):
        save(nnunet.root / f"imagesTr/scan_{i}_000{2 if i == 1 else 1}.nii.gz", voxels(9 + i))

    done = run(nnunet)

    expected = f"{nnunet.root}/imagesTr/{BAD}_0001.nii.gz: {NONE} an image of {BAD}"
    assert done.failures == ((BAD, expected),)
    assert done.scans == GOOD


@pytest.mark.parametrize("named", [5, None, [], {"images": 5}])
def test_items_of_nnunets_dataset_keep_their_names_beside_one_that_is_none(nnunet, named):
    right = {"images": [f"imagesTr/{BAD}_0000.nii.gz"], "label": f"labelsTr/{BAD}.nii.gz"}
    nnunet.save(dataset={"wrong": named, "right": right})

    done = run(nnunet, check=True)

    assert len(done.problems) == 1
    assert ITEM.format() in done.problems[0]
    assert done.scans == ("right",)


@pytest.mark.parametrize("name", ["", "../x", "a\nb", "x" * 300])
def test_a_name_that_can_be_no_files_is_refused(nnunet, name):
    one = {"images": [f"imagesTr/{BAD}_0000.nii.gz"], "label": f"labelsTr/{BAD}.nii.gz"}
    nnunet.save(dataset={name: one})

    with pytest.raises(UserError, match=r"can't be a scan's name: .*; rename its file"):
        run(nnunet)


@pytest.mark.parametrize("ending", [5, None, ".png", ""])
def test_an_ending_that_is_no_volumes_is_refused(nnunet, ending):
    nnunet.save(file_ending=ending)

    with pytest.raises(UserError, match=r"is no volume's; known: \.nii\.gz"):
        run(nnunet)
