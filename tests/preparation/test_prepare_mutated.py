"""Datasets spoilt at random: never a traceback, never a hang, never a success that is none.

What a run claims to have prepared is compared with an independent reading of the same files.
"""

import contextlib
import csv
import io
import json
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.raw import CLASSES, SCANS, Raw, pixels, png
from volseg import cli

TEXTS = st.text(st.sampled_from("0123456789 _.,-+\"'\n\r\t\0;eéx*/\\"), max_size=12)
PLACES = st.integers(0, 10**6)


def prepare(source, out, *options):
    """Exit code and what was said; anything but a clean end raises."""
    said = io.StringIO()
    words = ["prepare", str(source), "--out", str(out), "--workers", "1", *options]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = cli.run_command(words)
    return code, said.getvalue()


def samples_of(out):
    path = out / "dataset.json"
    return json.loads(path.read_text())["samples"] if path.is_file() else None


def voxels_of(path):
    return np.asarray(nibabel.load(path).dataobj)


def judge(code, said, out):
    """The laws that hold whatever the data; returns the samples that the run claims."""
    samples = samples_of(out)
    assert code in (0, 1, 3), said
    assert "Traceback" not in said
    if code == 1:
        assert said.startswith("volseg: ")
        assert samples is None
        assert not list(out.rglob("*.nii.gz"))
    if code == 3:
        assert "failed: " in said
    assert not list(out.rglob(".*"))
    return samples or []


# Slices


def damaged(data, draw):
    """Bytes cut, changed, lengthened or gone."""
    place = draw(PLACES) % (len(data) + 1)
    kind = draw(st.sampled_from(["cut", "flip", "insert", "empty"]))
    if kind == "flip" and place < len(data):
        return data[:place] + bytes([data[place] ^ (1 << draw(st.integers(0, 7)))]) + data[place + 1 :]
    if kind == "insert":
        return data[:place] + draw(st.binary(min_size=1, max_size=9)) + data[place:]
    return data[:place] if kind == "cut" else b""


def edited(text, draw):
    """A name or a cell with a piece of it replaced."""
    start = draw(PLACES) % (len(text) + 1)
    end = min(len(text), start + draw(st.integers(0, 4)))
    return text[:start] + draw(TEXTS) + text[end:]


def spoil_name(raw, draw):
    path = raw.path(draw(st.sampled_from(SCANS)), draw(st.integers(11, 15)))
    place = draw(st.sampled_from([path, path.parents[1], path.parents[2]]))
    name = edited(place.name, draw).replace("/", "").replace("\0", "").strip(".")
    if place.exists() and name and not place.with_name(name).exists():
        place.rename(place.with_name(name))


def spoil_bytes(raw, draw):
    path = raw.path(draw(st.sampled_from(SCANS)), draw(st.integers(11, 15)))
    if path.is_file():
        path.write_bytes(damaged(path.read_bytes(), draw))


def spoil_size(raw, draw):
    path = raw.path(draw(st.sampled_from(SCANS)), draw(st.integers(11, 15)))
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    if path.is_file():
        path.write_bytes(png((pixels(7, shape) & 255).astype(dtype)))


def spoil_presence(raw, draw):
    path = raw.path(draw(st.sampled_from(SCANS)), draw(st.integers(11, 15)))
    place = draw(st.sampled_from([path, path, path.parent, path.parents[1], path.parents[2], raw.csv]))
    if place.is_dir():
        shutil.rmtree(place)
    elif place.is_file():
        place.unlink()
    if draw(st.booleans()) and not place.exists() and place.parent.is_dir():
        place.mkdir()


def spoil_cell(raw, draw):
    key = draw(st.sampled_from(sorted(raw.rows)))
    (name, organ), text = key, raw.rows.pop(key)
    what = draw(st.sampled_from(["id", "class", "text", "row"]))
    if what == "text":
        text = edited(text, draw)
    if what != "row":
        key = (
            edited(name, draw) if what == "id" else name,
            edited(organ, draw) if what == "class" else organ,
        )
        raw.rows[key] = text
    if raw.csv.is_file():
        raw.save()


def spoil_table(raw, draw):
    if raw.csv.is_file():
        raw.csv.write_bytes(damaged(raw.csv.read_bytes(), draw))


SPOILERS = (spoil_name, spoil_bytes, spoil_size, spoil_presence, spoil_cell, spoil_table)


def slices_by_another_reader(folder):
    """Numbers and pixels (Z, rows, columns) by Pillow, numbers taken from the names."""
    inner = folder / "scans"
    files = [
        path for path in (inner if inner.is_dir() else folder).iterdir() if path.suffix.lower() == ".png"
    ]
    numbered = sorted((int(path.name.split("_")[1]), path) for path in files if path.name[0] != ".")
    stack = [np.asarray(Image.open(path)).astype(np.uint16) for _, path in numbered]
    return [number for number, _ in numbered], np.stack(stack)


def masks_by_another_reader(table, scan, numbers, shape):
    """Masks (class, Z, rows, columns) by csv.DictReader and a loop over runs."""
    found = np.zeros((len(CLASSES), len(numbers), shape[0] * shape[1]), bool)
    with table.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            ident = re.fullmatch(r"(case\d+_day\d+)_slice_(\d+)", (row["id"] or "").strip())
            if ident and ident[1] == scan and int(ident[2]) in numbers:  # others are warned of
                runs = [int(word) for word in row["segmentation"].split()]
                z, organ = numbers.index(int(ident[2])), CLASSES.index(row["class"].strip())
                for start, length in zip(runs[::2], runs[1::2], strict=True):
                    found[organ, z, start - 1 : start - 1 + length] = True
    return found.reshape(len(CLASSES), len(numbers), *shape)


def check_slices(raw, out, samples):
    for sample in samples:
        numbers, stack = slices_by_another_reader(Path(sample["source"]))
        assert sample["slices"] == numbers
        np.testing.assert_array_equal(voxels_of(out / sample["images"][0]).T, stack)
        if sample["labels"]:
            masks = masks_by_another_reader(raw.csv, sample["name"], numbers, stack.shape[1:])
            for organ, mask in zip(CLASSES, masks, strict=True):
                np.testing.assert_array_equal(voxels_of(out / sample["labels"][organ]).T, mask)


@settings(max_examples=150)
@given(data=st.data())
def test_spoilt_slices_and_tables_never_surprise(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("spoilt")
    raw, out = Raw(place / "raw"), place / "out"
    for spoil in data.draw(st.lists(st.sampled_from(SPOILERS), min_size=1, max_size=3)):
        spoil(raw, data.draw)

    code, said = prepare(raw.root, out)

    samples = judge(code, said, out)
    check_slices(raw, out, samples)
    if code == 0:  # then nothing that lay there was left out without a word
        scans = {p.parent for p in (raw.root / "train").glob("*/*/scans")}
        left_out = scans - {Path(sample["source"]) for sample in samples}
        assert all(told(one, said) or told(one.parent, said) for one in left_out), said


def told(path, said):
    return str(path) in said or repr(str(path))[1:-1] in said


# Volumes


def volumes(root):
    """A small Decathlon dataset: three scans, one of them uncompressed, two classes."""
    rng = np.random.default_rng(0)
    (root / "imagesTr").mkdir(parents=True)
    (root / "labelsTr").mkdir()
    listed = []
    for number, ending in enumerate((".nii.gz", ".nii", ".nii.gz")):
        affine = np.diag([-1.0, 1.5, 2.0, 1.0])
        image = rng.integers(-99, 999, (6, 5, 4)).astype(np.int16)
        label = rng.integers(0, 3, (6, 5, 4)).astype(np.uint8)
        files = [root / kind / f"scan_{number}{ending}" for kind in ("imagesTr", "labelsTr")]
        for array, file in zip((image, label), files, strict=True):
            nibabel.save(nibabel.Nifti1Image(array, affine), file)
        listed.append({"image": f"./imagesTr/{files[0].name}", "label": f"./labelsTr/{files[1].name}"})
    told = {
        "name": "tiny",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "front", "2": "back"},
        "training": listed,
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(told))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)


def spoil_listing(root, draw):
    path = root / "dataset.json"
    if not path.is_file():
        return
    if draw(st.booleans()):
        path.write_bytes(damaged(path.read_bytes(), draw))
        return
    with contextlib.suppress(ValueError):
        told = json.loads(path.read_bytes())
        if isinstance(told, dict) and told:
            key = draw(st.sampled_from(sorted(told)))
            inner = told[key]
            if isinstance(inner, list) and inner and draw(st.booleans()):
                inner[draw(PLACES) % len(inner)] = draw(VALUES)
            elif isinstance(inner, dict) and inner and draw(st.booleans()):
                inner[draw(st.sampled_from(sorted(inner)))] = draw(VALUES)
            else:
                told[key] = draw(VALUES)
            path.write_text(json.dumps(told))


def spoil_volume(root, draw):
    files = sorted(path for path in root.rglob("scan_*") if path.is_file())
    if files:
        path = files[draw(PLACES) % len(files)]
        path.write_bytes(damaged(path.read_bytes(), draw))


def spoil_file(root, draw):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if files:
        path = files[draw(PLACES) % len(files)]
        name = edited(path.name, draw).replace("/", "").replace("\0", "").strip(".")
        path.unlink() if draw(st.booleans()) or not name else path.rename(path.with_name(name))


def check_volumes(out, samples):
    for sample in samples:
        with contextlib.suppress(StopIteration):
            source = Path(sample["source"])
            theirs = nibabel.load(source)
            ours = nibabel.load(out / sample["images"][0])
            np.testing.assert_array_equal(ours.dataobj, theirs.dataobj)
            np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3, rtol=1e-5)


@settings(max_examples=150)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of header fields that hold nonsense
def test_spoilt_volumes_and_listings_never_surprise(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("spoilt")
    root, out = place / "raw", place / "out"
    volumes(root)
    spoilers = (spoil_listing, spoil_volume, spoil_file)
    for spoil in data.draw(st.lists(st.sampled_from(spoilers), min_size=1, max_size=3)):
        spoil(root, data.draw)

    code, said = prepare(root, out, "--layout", "nifti")

    check_volumes(out, judge(code, said, out))
