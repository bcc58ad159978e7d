import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from tests.dicom_series import example_pixels, write_series
from volseg.data.layouts.dicom import decode_process, pixels
from volseg.data.layouts.dicom.find import open_series
from volseg.data.layouts.dicom.pixels import read_volume
from volseg.data.volume import Array, Volume
from volseg.errors import UserError

SALT = b"salt of the tests"
SHAPE = (4, 12, 10)


def values(folder: Path) -> Array:
    """The planes (planes, rows, columns) of the one volume in a folder."""
    series = open_series(folder, salt=SALT)
    volume = read_volume(series)
    assert volume.voxels.dtype == np.float32
    planes = series.planes_of_volume(volume)
    assert planes is not None
    return planes


def test_slope_and_intercept_are_those_of_each_slice(tmp_path: Path) -> None:
    stored = example_pixels(SHAPE)
    write_series(
        tmp_path,
        pixels=stored,
        RescaleSlope=lambda number: str(1 + number / 4),
        RescaleIntercept=lambda number: str(-10 * number),
        RescaleType="US",
    )

    slopes, intercepts = 1 + np.arange(4) / 4, -10 * np.arange(4)

    assert np.array_equal(values(tmp_path), stored * slopes[:, None, None] + intercepts[:, None, None])


def test_without_a_slope_values_are_as_stored(tmp_path: Path) -> None:
    write_series(tmp_path, shape=SHAPE)

    assert np.array_equal(values(tmp_path), example_pixels(SHAPE))


@pytest.mark.parametrize("signed", [True, False])
def test_what_lies_beyond_the_stored_bits_is_no_part_of_a_value(tmp_path: Path, signed: bool) -> None:
    wanted = np.arange(480).reshape(SHAPE) * 8 - (2000 if signed else 0)
    stored = ((wanted & 0xFFF) | 0xA000).astype(np.uint16)
    write_series(tmp_path, pixels=stored, BitsStored=12, PixelRepresentation=int(signed))

    assert np.array_equal(values(tmp_path), wanted)


@pytest.mark.parametrize("signed", [True, False])
def test_where_0_is_white_values_are_inverted(tmp_path: Path, signed: bool) -> None:
    wanted = np.arange(480).reshape(SHAPE) * 8 - (2000 if signed else 0)
    stored = (-1 - wanted).astype(np.int16) if signed else (4095 - wanted).astype(np.uint16)
    tags = {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": int(signed)}
    write_series(tmp_path, pixels=stored, **tags)

    assert np.array_equal(values(tmp_path), wanted)


def test_a_ct_where_0_is_white_has_the_values_that_are_stored(tmp_path: Path) -> None:
    stored = example_pixels(SHAPE, "CT")
    stored[:, 0, 0] = -2000
    tags = {"RescaleIntercept": "0", "PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": -2000}
    write_series(tmp_path, modality="CT", pixels=stored, **tags)
    stored[:, 0, 0] = -1024

    assert np.array_equal(values(tmp_path), stored)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("highest", [11, 13, 15])
def test_bits_that_lie_higher_in_a_pixel_are_found(tmp_path: Path, signed: bool, highest: int) -> None:
    wanted = np.arange(480).reshape(SHAPE) * 8 - (2000 if signed else 0)
    stored = ((wanted & 0xFFF) << (highest - 11)).astype(np.uint16)
    for path in write_series(tmp_path, pixels=stored, BitsStored=12, PixelRepresentation=int(signed)):
        set_highest_bit(path, highest)

    assert np.array_equal(values(tmp_path), wanted)


def set_highest_bit(path: Path, highest: int) -> None:
    dataset = pydicom.dcmread(path)
    dataset.HighBit = highest
    dataset.save_as(path)


@pytest.mark.parametrize(("syntax", "told"), [(RLELossless, ""), (JPEG2000Lossless, "send it uncompressed")])
def test_compressed_bits_that_lie_higher_are_right_or_refused(tmp_path: Path, syntax: str, told: str) -> None:
    stored = example_pixels((4, 64, 64)).astype(np.uint16)
    for path in write_series(tmp_path, pixels=stored << 4 if not told else stored, BitsStored=16):
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.BitsStored, dataset.HighBit = 12, 15
        dataset.save_as(path)

    if told:
        with pytest.raises(UserError, match=told):
            values(tmp_path)
    else:
        assert np.array_equal(values(tmp_path), stored)


@pytest.mark.parametrize(
    ("kind", "padding", "signed"), [("SS", -2000, True), ("US", 63_536, True), ("SS", -2000, False)]
)
def test_padding_is_found_with_the_sign_of_its_pixels_or_another(
    tmp_path: Path, kind: str, padding: int, signed: bool
) -> None:
    stored = example_pixels(SHAPE, "CT").astype(np.int32) + (0 if signed else 1000)
    stored[:, 0, 0] = -2000
    for path in write_series(
        tmp_path,
        modality="CT",
        pixels=stored.astype(np.int16 if signed else np.uint16),
        RescaleIntercept="0" if signed else "-1000",
    ):
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", kind, padding)
        dataset.save_as(path)

    found = values(tmp_path)

    assert (found[:, 0, 0] == -1024).all()
    assert np.array_equal(found[:, 1:], example_pixels(SHAPE, "CT")[:, 1:])


def test_fractions_as_pixels_are_no_whole_numbers(tmp_path: Path) -> None:
    for path in write_series(tmp_path, shape=SHAPE):
        dataset = pydicom.dcmread(path)
        dataset.FloatPixelData = (dataset.pixel_array / 7).astype("<f4").tobytes()
        dataset.BitsAllocated = 32
        for key in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            delattr(dataset, key)
        dataset.save_as(path)

    with pytest.raises(UserError, match="plane 1: has fractions for pixels"):
        values(tmp_path)


def test_padding_of_a_ct_is_air_and_a_value_of_tissue_is_none(tmp_path: Path) -> None:
    stored = example_pixels(SHAPE) + 1024
    stored[:, 0, 0] = -2000
    stored[:, 5, 5] = 1024
    write_series(tmp_path / "out", modality="CT", pixels=stored, PixelPaddingValue=-2000)
    write_series(tmp_path / "in", modality="CT", pixels=stored, PixelPaddingValue=1024)

    assert (values(tmp_path / "out")[:, 0, 0] == -1024).all()
    assert (values(tmp_path / "in")[:, 5, 5] == 0).all()


CODECS = {"RLE": RLELossless, "JPEG 2000": JPEG2000Lossless, "JPEG-LS": JPEGLSLossless}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("signed", [True, False])
def test_codecs_change_no_value(tmp_path: Path, codec: str, signed: bool) -> None:
    stored = example_pixels((3, 64, 64)) - (300 if signed else 0)
    stored = stored.astype(np.int16 if signed else np.uint16)
    for path in write_series(tmp_path, pixels=stored):
        compress(path, CODECS[codec])

    assert np.array_equal(values(tmp_path), stored)


def compress(path: Path, syntax: str) -> None:
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)


def test_real_copies_of_a_series_in_five_codecs_are_equal(shared_data: Path) -> None:
    folders = sorted((shared_data / "dicom" / "codecs").iterdir())
    assert len(folders) == 5

    volumes = [read_volume(open_series(folder, salt=SALT, allow_no_frame=True)) for folder in folders]

    assert all(np.array_equal(volume.voxels, volumes[0].voxels) for volume in volumes)
    assert all(np.array_equal(volume.affine, volumes[0].affine) for volume in volumes)


def test_a_missing_decoder_says_what_to_install(tmp_path: Path) -> None:
    for path in write_series(tmp_path, shape=SHAPE):
        compress(path, JPEGLSLossless)
    blocked = tmp_path / "blocked"
    for name in ("jpeg_ls", "gdcm", "openjpeg", "libjpeg", "pylibjpeg"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text("raise ImportError")
    script = (
        "import sys, runpy; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2], run_name='__main__')"
    )
    series = open_series(tmp_path, salt=SALT)
    first = series.planes[0]
    planes = [[str(plane.path), None, 1.0, 0.0] for plane in series.planes]
    request = {"rows": first.rows, "columns": first.columns, "modality": "MR", "planes": planes}

    done = subprocess.run(
        [sys.executable, "-c", script, str(blocked), decode_process.__file__],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=True,
    )

    assert done.stdout == b"\1plane 1: needs a decoder of JPEG-LS; install it by `pip install pyjpegls`"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def grow(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    dataset.Rows = 4000
    dataset.Columns = 4000
    dataset.save_as(path)


def scramble(path: Path) -> None:
    compress(path, JPEG2000Lossless)
    data = bytearray(path.read_bytes())
    place = data.index(b"\xff\x4f\xff\x51")
    data[place + 8 : place + 16] = (10**9).to_bytes(4, "big") * 2  # the size that the codestream claims
    path.write_bytes(data)


@pytest.mark.parametrize("change", [cut, grow, scramble], ids=["cut", "grown", "of a huge codestream"])
def test_damaged_pixels_are_a_fault_that_names_no_file(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    paths = write_series(tmp_path / "CANARY", pixels=example_pixels((4, 64, 64)).astype(np.uint16))
    series = open_series(tmp_path, salt=SALT)
    change(paths[2])

    with pytest.raises(UserError) as raised:
        read_volume(series)

    assert "plane 3" in str(raised.value)
    assert series.name in str(raised.value)
    assert "CANARY" not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import time; time.sleep(60)", "more than 1 s"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "decoding ended with -11"),
        ("raise SystemExit(0)", "decoding ended with 0"),
    ],
    ids=["hangs", "crashes", "ends early"],
)
def test_a_decoder_that_hangs_or_crashes_is_a_fault_of_the_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    write_series(tmp_path / "series", shape=SHAPE)
    script = tmp_path / "decoder.py"
    script.write_text(body)
    monkeypatch.setattr(decode_process, "__file__", str(script))
    monkeypatch.setattr(pixels, "SECONDS", 1.0)

    with pytest.raises(UserError, match=told):
        read_volume(open_series(tmp_path / "series", salt=SALT))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")
def test_decoding_takes_no_more_memory_than_it_can_need() -> None:
    script = (
        "import runpy; m = runpy.run_path({0!r}); m['_limit_memory'](0, 100)\n"
        "try:\n    bytearray(2 << 30)\nexcept MemoryError:\n    print('bounded')"
    )
    command = [sys.executable, "-c", script.format(decode_process.__file__)]

    done = subprocess.run(command, capture_output=True, check=True, text=True)

    assert done.stdout == "bounded\n"


def test_a_file_that_changed_to_another_size_is_no_part_of_the_volume(tmp_path: Path) -> None:
    paths = write_series(tmp_path, shape=SHAPE)
    series = open_series(tmp_path, salt=SALT)
    write_series(tmp_path / "other", shape=(4, 10, 12))
    (tmp_path / "other" / paths[1].name).replace(paths[1])

    with pytest.raises(UserError, match="plane 2: has another size than its header tells"):
        read_volume(series)


def test_frames_of_an_enhanced_file_lie_where_their_groups_say(tmp_path: Path) -> None:
    path, stored = write_enhanced(tmp_path)

    series = open_series(tmp_path, salt=SALT)
    volume = read_volume(series)

    order = [plane.frame for plane in series.planes]
    assert order == [3, 1, 4, 2, 5]
    planes = series.planes_of_volume(volume)
    assert planes is not None
    slopes = np.array([2.0 + frame for frame in range(5)])
    assert np.array_equal(planes, (stored * slopes[:, None, None])[[2, 0, 3, 1, 4]])
    assert all(plane.path == path for plane in series.planes)


def test_an_enhanced_file_with_fewer_groups_than_frames_is_refused(tmp_path: Path) -> None:
    path, _ = write_enhanced(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:4]
    dataset.save_as(path)

    with pytest.raises(UserError, match="no position"):
        open_series(tmp_path, salt=SALT)


def write_enhanced(folder: Path) -> tuple[Path, Array]:
    """An enhanced MR of five frames that are out of order; the path and the stored pixels."""
    from pydicom.dataset import Dataset

    def group(**values: Any) -> list[Dataset]:
        item = Dataset()
        for key, value in values.items():
            setattr(item, key, value)
        return [item]

    (path,) = write_series(folder, shape=(1, 12, 10), SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1")
    dataset = pydicom.dcmread(path)
    stored = example_pixels((5, 12, 10))
    for key in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, key)
    shared, frames = Dataset(), []
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelMeasuresSequence = group(PixelSpacing=[2, 1.5], SliceThickness=4)
    for number, place in enumerate((1, 3, 0, 2, 4)):
        frame = Dataset()
        frame.PlanePositionSequence = group(ImagePositionPatient=[-10, -20, 4 * place])
        frame.PixelValueTransformationSequence = group(RescaleSlope=2 + number, RescaleIntercept=0)
        frame.FrameContentSequence = group(StackID="1", TemporalPositionIndex=1)
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.NumberOfFrames = 5
    dataset.PixelData = stored.astype("<i2").tobytes()
    dataset.save_as(path)
    return path, stored


def test_a_hundred_slices_take_about_a_second(shared_data: Path) -> None:
    import time

    series = open_series(shared_data / "dicom" / "sts_013" / "image", salt=SALT)
    start = time.monotonic()
    volume = read_volume(series)

    assert isinstance(volume, Volume)
    assert volume.voxels.shape == (179, 140, 107)
    assert time.monotonic() - start < 10  # of which a busy machine takes most; alone it is 0.7 s
