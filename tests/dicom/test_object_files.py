"""Files of objects: both or none, and one message where a folder can't be written."""

import numpy as np
import pytest

from tests.dicom.geometry_phantom import geometry_mask, organ_masks, phantom_series
from volseg.dicom import object_files
from volseg.dicom.object_files import check_output_folder, write_objects
from volseg.dicom.rtstruct import make_rtstruct
from volseg.errors import OutputError


def test_objects_are_written_all_or_none(tmp_path):
    """The second one can't be written: neither has its name, and nothing else is left."""
    good = make_rtstruct(phantom_series(tmp_path / "series"), organ_masks({"liver": geometry_mask()}))
    (tmp_path / "out/b.dcm").mkdir(parents=True)

    with pytest.raises(OutputError, match=r"b\.dcm: can't be written: it is no file"):
        write_objects({tmp_path / "out/a.dcm": good, tmp_path / "out/b.dcm": good})

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.dcm"]


def test_a_fault_while_the_second_is_written_leaves_no_first(tmp_path, monkeypatch):
    good = make_rtstruct(phantom_series(tmp_path / "series"), organ_masks({"liver": geometry_mask()}))
    write = object_files._write_file

    def write_or_fail(dataset, path, **settings):
        if "b.dcm" in path.name:
            raise OSError(5, "the drive fails")
        write(dataset, path, **settings)

    monkeypatch.setattr(object_files, "_write_file", write_or_fail)
    with pytest.raises(OutputError, match="the drive fails"):
        write_objects({tmp_path / "out/a.dcm": good, tmp_path / "out/b.dcm": good})

    assert [*(tmp_path / "out").iterdir()] == []


@pytest.mark.parametrize("place", ["/proc/nope", "/proc/self/nope/deeper", "FILE", "FILE/deeper"])
def test_a_folder_that_cant_be_written_is_told_before_and_while_writing(place, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / place.replace("FILE", "file")
    series = phantom_series(tmp_path / "series")
    made = make_rtstruct(series, organ_masks({"liver": np.ones_like(geometry_mask())}))

    for check in (lambda: check_output_folder(folder), lambda: write_objects({folder / "a.dcm": made})):
        with pytest.raises(OutputError, match=r"can't be written: .*choose another output folder"):
            check()


def test_checking_a_folder_leaves_nothing(tmp_path):
    check_output_folder(tmp_path / "out/deeper")

    assert [*tmp_path.iterdir()] == []
