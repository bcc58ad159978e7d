"""Every way in which a 16-bit slice may be packed gives the same pixels; see also test_layouts.py."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.raw import chunk, pixels
from volseg.data.layouts.gi_tract import png
from volseg.errors import UserError


def packed(image, filters, *, pieces=1, level=6):
    """A PNG written by the letter of its specification, each row by the filter that is asked for."""
    rows, columns = image.shape
    lines = np.frombuffer(image.astype(">u2").tobytes(), np.uint8).reshape(rows, 2 * columns)
    body = b""
    above = np.zeros(2 * columns, int)
    for line, kind in zip(lines.astype(int), filters, strict=True):
        left, corner = (np.concatenate([[0, 0], one[:-2]]) for one in (line, above))
        guess = left + above - corner
        paeth = np.select(
            [
                (abs(guess - left) <= abs(guess - above)) & (abs(guess - left) <= abs(guess - corner)),
                abs(guess - above) <= abs(guess - corner),
            ],
            [left, above],
            corner,
        )
        predicted = [0 * line, left, above, (left + above) // 2, paeth][kind]
        body += bytes([kind]) + ((line - predicted) % 256).astype(np.uint8).tobytes()
        above = line
    data = zlib.compress(body, level)
    step = -(-len(data) // pieces)
    parts = [chunk(b"IDAT", data[at : at + step]) for at in range(0, len(data), step)]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(parts) + chunk(b"IEND", b"")


@given(st.data())
def test_any_filter_of_any_row_in_any_number_of_pieces_gives_the_same_pixels(tmp_path_factory, data):
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    image = pixels(data.draw(st.integers(0, 99)), shape)
    kinds = data.draw(st.sampled_from([[1], [0], [1, 0], [0, 1, 2, 3, 4]]))
    filters = data.draw(st.lists(st.sampled_from(kinds), min_size=shape[0], max_size=shape[0]))
    path = tmp_path_factory.mktemp("png") / "one.png"
    path.write_bytes(packed(image, filters, pieces=data.draw(st.integers(1, 4))))

    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)  # the writer above is right
    np.testing.assert_array_equal(png.read(path), image)


@pytest.mark.parametrize("shape", [(1, 1), (266, 266), (310, 360)])
def test_what_opencv_and_pillow_write_is_read_as_opencv_reads_it(tmp_path, shape):
    image = pixels(1, shape)
    cv2.imwrite(str(tmp_path / "cv2.png"), image)
    Image.fromarray(image).save(tmp_path / "pillow.png")
    png.write(tmp_path / "own.png", image)

    for path in tmp_path.glob("*.png"):
        np.testing.assert_array_equal(png.read(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def test_the_short_way_is_taken_for_what_we_write_and_for_the_real_scans(tmp_path, shared_data):
    png.write(tmp_path / "own.png", pixels(1, (20, 30)))
    real = next((shared_data / "uwmgi_real/train/case139/case139_day0/scans").iterdir())

    for path in (tmp_path / "own.png", real):
        short = png._decode_differences(path.read_bytes())
        np.testing.assert_array_equal(short, cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


@pytest.mark.parametrize("missing", [1, 19, 200])
def test_a_stream_of_too_few_rows_is_refused_though_every_checksum_is_right(tmp_path, missing):
    whole = packed(pixels(1, (9, 9)), [1] * 9)
    data = zlib.decompress(whole[41:-16])[:-missing] if missing < 171 else b""
    head, tail = whole[:33], chunk(b"IEND", b"")
    path = tmp_path / "short.png"
    path.write_bytes(head + chunk(b"IDAT", zlib.compress(data)) + tail)

    assert png._decode_differences(path.read_bytes()) is None
    with pytest.raises(UserError, match="can't be decoded; copy or download"):
        png.read(path)


def test_a_header_that_states_a_size_beyond_all_measure_takes_no_memory(tmp_path):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 16, 0, 0, 0, 0))
    path = tmp_path / "huge.png"
    body = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)

    with pytest.raises(UserError, match="can't be decoded"):
        png.read(path)


@pytest.mark.parametrize("length", [1, 3, 7, 40])
def test_bytes_behind_the_end_are_no_part_of_the_picture(tmp_path, length):
    image = pixels(1, (9, 9))
    path = tmp_path / "longer.png"
    path.write_bytes(packed(image, [1] * 9) + b"x" * length)

    np.testing.assert_array_equal(png.read(path), image)
