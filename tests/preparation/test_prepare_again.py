"""What is done stays, what changed is done anew, and a kill at any moment costs nothing but time."""

import contextlib
import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from tests.raw import SCANS, Raw
from volseg.arguments import PrepareArguments
from volseg.data.dataset import Dataset
from volseg.data.image_identity import image_hash
from volseg.data.phantom import write_phantom
from volseg.errors import UserError
from volseg.preparation import records, scan_writer
from volseg.preparation.prepare import prepare


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path / "raw")


def run(raw, **settings):
    out = raw.root.parent / "prepared"
    return prepare(raw.root, options=PrepareArguments(out=out, **{"workers": 1, **settings}))


def hashes(out):
    """Every file of a folder, hidden ones too, by its content."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file()
    }


def contents(out):
    """Every file of a folder by what it says: volumes unpacked, records without the sizes of packed files.

    Rarely, on a busy machine, a command packs the same volume into other bytes.
    """
    said = {}
    for name in hashes(out):
        content = (out / name).read_bytes()
        if name.endswith(".gz"):
            content = gzip.decompress(content)
        elif name.startswith("records/"):
            record = json.loads(content)
            content = json.dumps({**record, "files": sorted(record["files"])}).encode()
        said[name] = hashlib.sha256(content).hexdigest()
    return said


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_a_second_run_does_nothing_and_touches_no_file(raw):
    out = run(raw).out
    before, times = hashes(out), stamps(out)

    again = run(raw)

    assert again.unchanged == again.scans == SCANS
    assert (hashes(out), stamps(out)) == (before, times)


@pytest.mark.parametrize("how", ["content", "time"])
def test_a_slice_that_changed_has_its_scan_made_anew_and_no_other(raw, how):
    out = run(raw).out
    before = hashes(out)
    path = raw.path(SCANS[1], 13)
    if how == "content":
        path.write_bytes(raw.path(SCANS[1], 14).read_bytes())
    else:
        os.utime(path, (1, 1))

    again = run(raw)

    assert set(again.unchanged) == set(SCANS) - {SCANS[1]}
    changed = {name for name, value in hashes(out).items() if before[name] != value}
    expected = {f"records/{SCANS[1]}.json"}
    image = {f"images/{SCANS[1]}.nii.gz", "dataset.json"}  # which holds the image's hash
    assert changed == (expected | image if how == "content" else expected)


def test_a_row_that_changed_has_its_scan_made_anew_and_no_other(raw):
    run(raw)
    raw.rows[f"{SCANS[2]}_slice_0013", "stomach"] = "5 3"
    raw.save()

    again = run(raw)

    assert set(again.unchanged) == set(SCANS) - {SCANS[2]}
    dataset = Dataset.load(again.out)
    assert dataset.label(dataset.select_samples(SCANS[2])[0], "stomach")[..., 2].sum() == 3


@pytest.mark.parametrize(
    "settings", [{"slice_mm": 2.5}, {"classes": ("stomach", "small_bowel", "large_bowel")}]
)
def test_other_settings_make_everything_anew(raw, settings):
    run(raw)

    assert run(raw, **settings).unchanged == ()


def test_another_exclude_changes_only_the_flag(raw):
    run(raw)

    again = run(raw, exclude=("case1",))

    assert again.unchanged == SCANS
    assert [sample.excluded for sample in Dataset.load(again.out).samples] == [True, True, False, False]


@pytest.mark.parametrize("file", ["images/{}.nii.gz", "labels/{}/stomach.nii.gz", "records/{}.json"])
@pytest.mark.parametrize("spoil", ["removed", "cut"])
def test_a_file_that_is_gone_or_cut_is_made_again(raw, file, spoil):
    out = run(raw).out
    before = hashes(out)
    path = out / file.format(SCANS[0])
    if spoil == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9])

    again = run(raw)

    assert set(again.unchanged) == set(SCANS) - {SCANS[0]}
    assert hashes(out) == before


def test_scans_that_left_the_source_leave_the_dataset_and_are_named(raw):
    out = run(raw).out
    for number in range(11, 16):
        raw.path(SCANS[3], number).unlink()
    raw.path(SCANS[3], 11).parent.rmdir()
    raw.folder(SCANS[3]).rmdir()
    raw.rows = {key: text for key, text in raw.rows.items() if not key[0].startswith(SCANS[3])}
    raw.save()

    again = run(raw)

    assert again.removed == (SCANS[3],)
    assert not [name for name in hashes(out) if SCANS[3] in name]
    assert not (out / "labels" / SCANS[3]).exists()


def test_a_scan_that_can_not_be_used_any_more_leaves_no_volume_behind(raw):
    out = run(raw).out
    raw.path(SCANS[0], 13).write_bytes(b"")

    again = run(raw)

    assert [failure.name for failure in again.failures] == [SCANS[0]]
    assert not [name for name in hashes(out) if SCANS[0] in name]


def test_files_that_prepare_did_not_write_stay(raw):
    out = run(raw).out
    mine = out / "labels" / SCANS[0] / "liver.nii.gz"
    mine.write_bytes(b"mine")
    raw.path(SCANS[0], 13).write_bytes(b"")

    run(raw)

    assert mine.read_bytes() == b"mine"


def test_other_files_than_before_are_no_ground_for_trust_in_an_old_record(raw):
    """The record of a scan is gone before its files change, so a stop in between is seen."""
    out = run(raw).out
    path = raw.path(SCANS[0], 13)
    old, times = path.read_bytes(), path.stat()
    path.write_bytes(raw.path(SCANS[0], 14).read_bytes())

    records.remove_scan(out, SCANS[0])
    path.write_bytes(old)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert SCANS[0] not in run(raw).unchanged


@pytest.mark.parametrize("kind", ["uint16", "uint8"])
def test_a_dataset_of_an_earlier_version_gets_the_hash_of_each_image_and_no_other_change(raw, kind):
    out = run(raw).out
    volumes = {name: value for name, value in hashes(out).items() if name.endswith(".gz")}
    expected = Dataset.load(out)
    for name in SCANS:  # as they were written before
        record = json.loads((out / "records" / f"{name}.json").read_text())
        del record["sample"]["image_hash"]
        record["fingerprint"]["dtype"] = kind
        (out / "records" / f"{name}.json").write_text(json.dumps(record))
    old = json.loads((out / "dataset.json").read_text())
    for sample in old["samples"]:
        del sample["image_hash"]
    (out / "dataset.json").write_text(json.dumps(old))
    assert {sample.image_hash for sample in Dataset.load(out).samples} == {""}

    assert run(raw).unchanged == SCANS

    again = Dataset.load(out)
    assert again.samples == expected.samples
    assert all(sample.image_hash == image_hash(again.channels(sample)) for sample in again.samples)
    assert {name: value for name, value in hashes(out).items() if name.endswith(".gz")} == volumes


# Two at once, and kills


HOLDING = """
import sys, time
from pathlib import Path
from volseg.preparation import records

with records.lock_dataset(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_two_prepares_into_one_folder_refuse_each_other_until_one_ends_or_is_killed(raw):
    out = run(raw).out
    before = hashes(out)
    with subprocess.Popen([sys.executable, "-c", HOLDING, out], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UserError) as caught:
            run(raw)
        other.kill()

    assert str(caught.value) == (
        f"{out}: another `volseg prepare` is writing it; wait for it or choose another --out"
    )
    assert run(raw).unchanged == SCANS
    assert hashes(out) == before


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """36 small scans: enough to be stopped in the middle of."""
    raw = tmp_path_factory.mktemp("phantom") / "raw"
    write_phantom(raw, cases=12, days=3)
    return raw


def start(raw, out):
    command = [sys.executable, "-m", "volseg", "prepare", raw, "--out", out, "--workers", "2"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(raw, out):
    with start(raw, out) as whole:
        said = whole.communicate(timeout=300)[1].decode()
        assert whole.returncode == 0, said
    return said


def count_records(out):
    return len(list((out / "records").glob("[!.]*.json")))


def killed(raw, out, *, records, whom):
    """Start and kill: the command (its workers see it and end), or all of its processes at once.

    It is killed when so many scans have a record; with fewer than none, at a moment of its start.
    """
    with start(raw, out) as process:
        if records < 0:
            time.sleep(-records * 0.05)
        while count_records(out) < records and process.poll() is None:
            time.sleep(0.002)
        if process.poll() is None:
            if whom == "all":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.communicate()


def check_no_false_claim(out):
    """What a killed run leaves claims only scans whose files are all there."""
    if (out / "dataset.json").is_file():
        dataset = Dataset.load(out)
        dataset.check_files(dataset.samples)
    for path in (out / "records").glob("[!.]*.json"):
        record = json.loads(path.read_text())
        assert all((out / name).stat().st_size == size for name, size in record["files"].items())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
def test_killed_at_any_moment_a_second_run_ends_with_what_an_undisturbed_one_gives(phantom, tmp_path):
    finish(phantom, tmp_path / "undisturbed")
    expected = contents(tmp_path / "undisturbed")
    assert len(expected) == 1 + 36 * 5 + 2
    moments = random.Random(0)
    stopped_inside = 0

    for trial in range(5):
        out = tmp_path / f"killed{trial}"
        for _ in range(1 + trial % 3):  # once, or again before it could end
            done = count_records(out)
            records = done + round(moments.uniform(-0.3, 0.8) * (36 - done))
            killed(phantom, out, records=records, whom=("command", "all")[trial % 2])
            check_no_false_claim(out)
        stopped_inside += out.is_dir() and not (out / "dataset.json").is_file()
        finish(phantom, out)
        assert contents(out) == expected

    assert stopped_inside >= 2


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
def test_killed_while_it_replaces_an_older_result_it_ends_with_the_new_one(phantom, tmp_path):
    began = time.monotonic()
    new = ["--slice-mm", "2.5"]
    out, other = tmp_path / "replaced", tmp_path / "fresh"
    finish(phantom, out)
    length = time.monotonic() - began
    for after in (0.5, 0.7, 0.9):
        command = [sys.executable, "-m", "volseg", "prepare", phantom, "--out", out, *new]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run_:
            time.sleep(after * length)
            run_.kill()
        check_no_false_claim(out)

    for place in (out, other):
        words = [sys.executable, "-m", "volseg", "prepare", phantom, "--out", place, *new]
        subprocess.run(words, check=True, capture_output=True)
    assert contents(out) == contents(other)
    assert Dataset.load(out).samples[0].spacing_mm[2] == pytest.approx(2.5)


def test_a_record_this_version_can_not_read_is_no_record(raw: Raw, tmp_path: Path):
    out = run(raw).out
    path = out / "records" / f"{SCANS[0]}.json"
    path.write_text('{"key": "of a later version"}')

    assert records.read(out, SCANS[0]) is None
    with pytest.raises(UserError, match=f"no record of {SCANS[0]}; run `volseg prepare` again"):
        records.read_all(out, SCANS)
    assert SCANS[0] not in run(raw).unchanged


# What a reviewer found


def test_a_source_that_changes_while_it_is_read_is_read_again(raw, monkeypatch):
    read = scan_writer._read_scan

    def read_then_changed(scan, plan):
        done = read(scan, plan)
        raw.path(scan.name, 13).write_bytes(raw.path(scan.name, 14).read_bytes())
        return done

    monkeypatch.setattr(scan_writer, "_read_scan", read_then_changed)
    run(raw)
    monkeypatch.undo()

    assert run(raw).unchanged == ()


def test_an_output_folder_that_holds_the_sources_own_files_is_refused(tmp_path):
    source = tmp_path / "mine"
    (source / "images").mkdir(parents=True)
    image = source / "images" / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), image)
    before = image.read_bytes()
    listing = source / "list.json"
    listing.write_text(json.dumps({"labels": {"0": "background", "1": "x"}, "test": ["images/a.nii.gz"]}))

    with pytest.raises(UserError, match="holds files of the source; choose another --out"):
        prepare(listing, options=PrepareArguments(layout="nifti", out=source, workers=1))

    assert hashes(source).keys() == {"images/a.nii.gz", "list.json"}
    assert image.read_bytes() == before


def test_an_output_folder_of_volumes_that_somebody_else_wrote_is_refused(raw):
    out = raw.root.parent / "prepared"
    mine = out / "images" / f"{SCANS[0]}.nii.gz"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")

    with pytest.raises(UserError, match="holds files that `volseg prepare` did not write"):
        run(raw)

    assert hashes(out).keys() == {f"images/{SCANS[0]}.nii.gz"}


def test_voxels_that_lie_in_a_file_beside_their_header_are_watched(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    sitk.WriteImage(image, str(tmp_path / "raw.mhd"))
    listing = tmp_path / "list.json"
    listing.write_text(json.dumps({"labels": {"0": "background", "1": "x"}, "test": ["raw.mhd"]}))
    options = PrepareArguments(layout="nifti", out=tmp_path / "out", workers=1)
    prepare(listing, options=options)

    (tmp_path / "raw.raw").write_bytes(np.full(60, 5, np.int16).tobytes())

    assert prepare(listing, options=options).unchanged == ()
    dataset = Dataset.load(tmp_path / "out")
    assert (dataset.image(dataset.samples[0]).voxels == 5).all()


def test_columns_that_change_their_meaning_make_masks_anew(raw):
    lines = raw.csv.read_text().splitlines()
    spare = [f"{line},old" if not n else f"{line}," for n, line in enumerate(lines)]
    raw.csv.write_text("\n".join([*spare, ""]))
    run(raw)
    raw.csv.write_text("\n".join(["id,class,old,segmentation", *spare[1:], ""]))

    assert run(raw).unchanged == ()


def test_a_scan_for_which_memory_does_not_suffice_is_named_and_the_others_go_on(raw, monkeypatch):
    measure = scan_writer.measure_scan

    def short(channels, masks, **facts):
        if channels[0].voxels[0, 0, 0] == raw.images[SCANS[1], 11][0, 0]:
            raise MemoryError
        return measure(channels, masks, **facts)

    monkeypatch.setattr(scan_writer, "measure_scan", short)

    done = run(raw)

    ((name, reason),) = done.failures
    assert name == SCANS[1]
    assert "not enough memory" in reason
    assert not [file for file in hashes(done.out) if SCANS[1] in file]


def test_a_second_ctrl_c_does_not_hang_the_command(phantom, tmp_path):
    for pause in (0.03, 0.1):
        out = tmp_path / f"out{pause}"
        with start(phantom, out) as process:
            while not (out / "images").is_dir() and process.poll() is None:
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(pause)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=120)
