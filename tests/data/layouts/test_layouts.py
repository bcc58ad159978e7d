import os

import numpy as np
import pytest
from pydantic import ValidationError

from tests.raw import CLASSES, COLUMNS, FIRST, LAST, ROWS, SCANS, Raw, chunk, pixels, png
from volseg.data.layouts import GITract, Layout
from volseg.data.layouts.gi_tract import png as reader
from volseg.data.layouts.gi_tract.slice_scan import read_folder
from volseg.errors import UserError
from volseg.formatting import natural_key
from volseg.schema import union_members


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path / "raw")


def fault(call, *args, **settings):
    with pytest.raises(UserError) as caught:
        call(*args, **settings)
    return str(caught.value)


def notes_of(found):
    return [one.message for one in found.findings if one.severity == "note"]


def stacked(scan, classes=CLASSES):
    """The labels as one array (C, X, Y, Z) in the order in which they come."""
    masks = scan.labels(classes)
    assert list(masks) == list(classes)
    return np.stack(list(masks.values()))


def scan_of(raw, name=SCANS[0], **settings):
    return {scan.name: scan for scan in GITract(**settings).scans(raw.root).scans}[name]


def test_column_row_and_slice_of_a_pixel_are_x_y_and_z_of_its_voxel(raw):
    voxels = scan_of(raw).image().voxels

    assert voxels.dtype == np.uint16
    assert voxels.shape == (COLUMNS, ROWS, LAST - FIRST + 1)
    for z, number in enumerate(range(FIRST, LAST + 1)):
        for x in range(COLUMNS):
            for y in range(ROWS):
                assert voxels[x, y, z] == raw.images[SCANS[0], number][y, x]


def test_the_grid_runs_to_left_back_and_feet_with_width_from_the_third_part_of_the_name(raw):
    affine = scan_of(raw).image().affine

    np.testing.assert_array_equal(affine, np.diag([-1.5, -1.63, -3.0, 1.0]))
    np.testing.assert_array_equal(
        scan_of(raw, slice_mm=2.5).image().affine, np.diag([-1.5, -1.63, -2.5, 1.0])
    )


def test_masks_are_read_row_by_row_and_may_overlap(raw):
    labels = stacked(scan_of(raw))

    expected = np.zeros((3, COLUMNS, ROWS, 5), dtype=bool)
    expected[2, [0, 1, 0], [0, 0, 1], 1] = True  # pixels 1, 2 and 10 of rows of 9
    expected[1, [1, 8], [0, 6], 1] = True  # pixels 2 and 63
    np.testing.assert_array_equal(labels, expected)


def test_classes_come_in_the_order_asked_for(raw):
    scan = scan_of(raw)

    np.testing.assert_array_equal(stacked(scan, CLASSES[::-1]), stacked(scan)[::-1])


def test_scans_come_by_case_and_day_as_numbers(raw):
    raw.folder(SCANS[1]).rename(raw.folder("case1_day10"))
    raw.rows = {(name.replace("_day5", "_day10") if name.startswith("case1_day5") else name, organ): text
                for (name, organ), text in raw.rows.items()}  # fmt: skip
    (raw.root / "train/case2").rename(raw.root / "train/case10")
    for day in ("day0", "day5"):
        (raw.root / f"train/case10/case2_{day}").rename(raw.root / f"train/case10/case10_{day}")
    raw.csv.unlink()

    names = [scan.name for scan in GITract().scans(raw.root).scans]

    assert names == ["case1_day0", "case1_day10", "case10_day0", "case10_day5"]


def test_without_train_csv_scans_have_no_masks_and_a_note_says_so(raw):
    raw.csv.unlink()

    found = GITract().scans(raw.root)

    assert [scan.labels(CLASSES) for scan in found.scans] == [None] * 4
    assert notes_of(found) == [f"{raw.root}: no train.csv, so the scans are prepared without labels"]


def test_the_part_is_the_folder_above_the_case(raw):
    (raw.root / "train" / "case2").rename(raw.root / "case2")
    (raw.root / "test").mkdir()
    (raw.root / "case2").rename(raw.root / "test" / "case2")

    parts = {scan.name: scan.part for scan in GITract().scans(raw.root).scans}

    assert parts == dict(zip(SCANS, ["train", "train", "test", "test"], strict=True))


def test_a_bare_folder_of_cases_is_train_if_labelled_and_test_if_not(raw):
    bare = raw.root / "bare"
    (raw.root / "train").rename(bare)
    assert {scan.part for scan in GITract().scans(bare).scans} == {"test"}

    raw.csv.rename(bare / "train.csv")
    found = GITract().scans(bare)

    assert {scan.part for scan in found.scans} == {"train"}
    assert all(scan.labels(CLASSES) for scan in found.scans)


def test_a_folder_train_given_for_its_parent_is_guessed(raw):
    notes = notes_of(GITract().scans(raw.root / "train"))

    assert notes[0].endswith(f"(there is one in {raw.root}: did you mean that?)")


def test_a_dataset_one_folder_deeper_is_guessed(raw):
    message = fault(GITract().scans, raw.root.parent)

    assert message == (
        f"{raw.root.parent}: no cases; expected train/case123/case123_day20/scans/"
        f"slice_0001_266_266_1.50_1.50.png, did you mean {raw.root}?"
    )


def test_hidden_and_other_files_are_no_slices(raw):
    scans = raw.path(SCANS[0], FIRST).parent
    (scans / "._slice_0011_9_7_1.50_1.63.png").write_bytes(b"mac")
    (scans / "Thumbs.db").write_bytes(b"windows")
    (raw.root / "train" / ".DS_Store").write_bytes(b"mac")

    assert len(scan_of(raw).paths) == 5


def test_slice_numbers_are_sorted_as_numbers_whatever_their_padding(raw):
    raw.csv.unlink()
    for number in range(FIRST, LAST + 1):
        path = raw.path(SCANS[0], number)
        path.rename(path.with_name(f"slice_{number - 4}_9_7_1.50_1.63.png"))

    assert scan_of(raw).numbers == (7, 8, 9, 10, 11)


def test_with_allow_gaps_the_slices_there_are_are_stacked_and_a_note_says_so(raw):
    raw.path(SCANS[0], 12).unlink()

    scan = scan_of(raw, allow_gaps=True)

    assert scan.numbers == (11, 13, 14, 15)
    assert scan.shape == (9, 7, 4)
    assert stacked(scan).sum() == 0  # all its masks were on slice 12
    assert scan.notes == (
        (
            f"{raw.folder(SCANS[0])}: slice 12 missing between 11 and 13; "
            "the other slices are stacked as if they touched"
        ),
    )


def test_excel_marks_quotes_blank_lines_column_order_and_unpadded_ids_do_not_matter(raw):
    expected = stacked(scan_of(raw))
    lines = [f'"{text}",{organ},"{name.replace("_00", "_")}"' for (name, organ), text in raw.rows.items()]
    text = "\r\n".join(["segmentation,class,id", *lines, "", ""])
    raw.csv.write_text(text, encoding="utf-8-sig", newline="")

    np.testing.assert_array_equal(stacked(scan_of(raw)), expected)


@pytest.mark.parametrize("where", ["scan", "scans", "case of one day", "loose"])
def test_read_folder_takes_a_scan_its_scans_its_case_or_any_folder_of_slices(raw, where):
    folder = raw.folder(SCANS[0])
    raw.folder(SCANS[1]).rename(raw.root / "elsewhere")
    loose = raw.root / "mri"
    if where == "loose":
        (folder / "scans").rename(loose)
    paths = {"scan": folder, "scans": folder / "scans", "loose": loose}

    scan = read_folder(paths.get(where, folder.parent))

    names = ("mri", 0, "mri") if where == "loose" else ("case1", 0, "case1_day0")
    assert (scan.case, scan.day, scan.name) == names
    assert scan.numbers == (11, 12, 13, 14, 15)
    assert scan.spacing_mm == (1.5, 1.63, 3.0)
    assert scan.image().voxels[2, 3, 4] == raw.images[SCANS[0], 15][3, 2]


def test_read_folder_knows_its_name_from_inside(raw, monkeypatch):
    monkeypatch.chdir(raw.folder(SCANS[0]) / "scans")
    assert read_folder(type(raw.root)()).name == SCANS[0]


def test_read_folder_refuses_a_case_of_several_days_and_names_them(raw):
    case = raw.root / "train" / "case1"

    assert fault(read_folder, case) == (
        f"{case}: holds 2 days (case1_day0, case1_day5); give the folder of one day"
    )


def test_read_folder_refuses_what_is_no_folder_of_slices(raw):
    expected = "expected a folder of slices such as slice_0001_266_266_1.50_1.50.png"
    assert fault(read_folder, raw.root / "nowhere") == (f"{raw.root / 'nowhere'}: no such folder; {expected}")
    assert fault(read_folder, raw.csv) == f"{raw.csv}: is a file; {expected}"
    assert fault(read_folder, raw.root) == (
        f"{raw.root}: no slices; expected scans/slice_0001_266_266_1.50_1.50.png"
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (7, 9)])
def test_every_sixteen_bit_value_is_kept(tmp_path, shape):
    path = tmp_path / "one.png"
    for value in (0, 1, 255, 256, 15865, 65535):
        path.write_bytes(png(np.full(shape, value, dtype=np.uint16)))
        np.testing.assert_array_equal(reader.read(path), np.full(shape, value))


def test_no_png_that_is_cut_anywhere_is_read(tmp_path):
    path = tmp_path / "one.png"
    whole = png(pixels(1))
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        assert str(path) in fault(reader.read, path)
        assert "truncated" in fault(reader.read, path)


def test_no_png_with_a_changed_byte_is_read(tmp_path):
    path = tmp_path / "one.png"
    whole = png(pixels(1))
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert fault(reader.read, path).startswith(f"{path}: ")


def test_a_png_whose_pixels_do_not_unpack_is_refused_though_its_checksums_are_right(tmp_path):
    path = tmp_path / "one.png"
    whole = png(pixels(1))
    path.write_bytes(whole[:33] + chunk(b"IDAT", b"no zlib stream") + chunk(b"IEND", b""))

    assert fault(reader.read, path) == (
        f"{path}: its pixels can't be decoded; copy or download the file again"
    )


@pytest.mark.parametrize("name", union_members(Layout))
def test_every_layout_refuses_a_folder_that_is_not_there_and_says_what_it_expects(name, tmp_path):
    layout = union_members(Layout)[name]()

    assert layout.name == name
    message = fault(layout.scans, tmp_path / "nowhere")
    assert message.startswith(f"{tmp_path / 'nowhere'}: no such folder; expected ")


@pytest.mark.parametrize("kind", ["folder", "link to nothing", "link to itself", "pipe"])
def test_a_train_csv_that_is_no_file_is_a_fault_and_not_a_missing_one(raw, kind):
    raw.csv.unlink()
    make = {
        "folder": raw.csv.mkdir,
        "link to nothing": lambda: raw.csv.symlink_to("nowhere"),
        "link to itself": lambda: raw.csv.symlink_to(raw.csv.name),
        "pipe": lambda: os.mkfifo(raw.csv),
    }
    make[kind]()

    (finding,) = GITract().scans(raw.root).findings

    told = "is no file, or a link to none; expected id,class,segmentation"
    assert (finding.severity, finding.message) == ("error", f"{raw.csv}: {told}")


@pytest.mark.parametrize(
    "name", ["case1_day0_slice_" + "9" * 5000, "case" + "9" * 5000 + "_day0_slice_0011", "\0", "\x1b[31mred"]
)
def test_an_id_that_is_none_is_shown_short_and_without_control_characters(raw, name):
    raw.rows[name, "stomach"] = ""
    raw.save()

    (finding,) = GITract().scans(raw.root).findings

    assert finding.message.startswith(f"{raw.csv}: id '")
    assert finding.message.isprintable()
    assert len(finding.message) < len(str(raw.csv)) + 160


def test_names_sort_by_their_numbers_however_long_they_are():
    names = ["case1" + "0" * 5000, "case" + "9" * 5000, "case010", "case2"]

    assert sorted(names, key=natural_key) == names[::-1]


def test_folders_beside_the_cases_are_told_to_be_left_out(raw):
    for name in ("Case3", "case1/case1 day3", "case1/case1-Day04", "copy of case1", "case2/notes"):
        (raw.root / "train" / name).mkdir()

    findings = GITract().scans(raw.root).findings

    near = [one.message for one in findings if (one.severity, one.kind) == ("warning", "near name")]
    assert near == [
        f"{raw.root}: 3 folders have nearly the names of cases or scans and are left out; rename them: "
        f"'{raw.root}/train/Case3' for case3, '{raw.root}/train/case1/case1 day3' for case1_day3, "
        f"'{raw.root}/train/case1/case1-Day04' for case1_day4"
    ]
    assert [one.message for one in findings if one.severity == "note"] == [
        f"{raw.root}: left out, not named like case123 or case123_day20: {raw.root}/train/copy of case1, "
        f"{raw.root}/train/case2/notes"
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": ("stomach", "stomach")}, "a class is named twice: stomach, stomach"),
        ({"classes": ("../stomach",)}, "can't be the name of a class"),
        ({"classes": ("",)}, "can't be the name of a class"),
        ({"classes": ("x" * 100,)}, "match pattern"),
        ({"slice_mm": 0.0}, "greater than or equal to 0.001"),
        ({"slice_mm": 1e-300}, "greater than or equal to 0.001"),
        ({"slice_mm": 1e9}, "less than or equal to 1000"),
    ],
)
def test_settings_that_would_give_wrong_files_or_grids_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        GITract(**settings)


def test_a_pipe_among_the_slices_is_not_waited_for(raw):
    path = raw.path(SCANS[0], 13)
    path.unlink()
    os.mkfifo(path)

    message = fault(scan_of(raw).image)

    assert message == f"{path}: is a pipe or a device; expected a PNG"


def test_a_png_whose_head_has_another_length_is_none(tmp_path):
    path = tmp_path / "one.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"") + chunk(b"IEND", b""))

    assert fault(reader.read, path) == f"{path}: not a PNG; expected a 16-bit greyscale PNG"


def test_rows_of_a_scan_may_lie_anywhere_in_the_file_and_hold_line_breaks(raw):
    expected = stacked(scan_of(raw))
    lines = [f'"{name}\n",{organ},"{text}"' for (name, organ), text in raw.rows.items()]
    order = np.random.default_rng(0).permutation(len(lines))
    raw.csv.write_text("\n".join(["id,class,segmentation", *[lines[i] for i in order], ""]))

    np.testing.assert_array_equal(stacked(scan_of(raw)), expected)


def test_a_real_scan_starts_at_its_own_number_and_equals_its_pngs(shared_data):
    import SimpleITK

    scan = read_folder(shared_data / "uwmgi_real/train/case139/case139_day0")
    volume = scan.image()

    assert scan.numbers == tuple(range(27, 135))
    assert volume.voxels.shape == (234, 234, 108)
    for z in (0, 50, 107):
        pixels_of = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(scan.paths[z]))
        assert pixels_of.max() > 255
        np.testing.assert_array_equal(volume.voxels[..., z].T, pixels_of)
