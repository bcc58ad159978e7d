import errno
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from volseg.errors import OutputError
from volseg.training.board import Board


def events(folder: Path) -> list:
    (path,) = folder.iterdir()
    return list(LegacyEventFileLoader(str(path)).Load())


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    with Board(tmp_path, first_step=3) as board:
        board.add_scalar("loss", 0.5, 7)
        board.add_picture("scan", np.zeros((4, 6, 3), np.uint8), 7)
        assert len(events(tmp_path)) == 2
        board.write_events()
        version, start, loss, picture = events(tmp_path)

    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (3, start.session_log.START)
    assert (loss.step, loss.summary.value[0].tag, loss.summary.value[0].simple_value) == (7, "loss", 0.5)
    image = picture.summary.value[0].image
    assert (picture.summary.value[0].tag, image.height, image.width) == ("scan", 4, 6)


def test_a_full_disk_is_an_error_where_it_is_written(tmp_path: Path) -> None:
    class Full:
        def write(self, _data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with Board(tmp_path, first_step=1) as board:
        board.add_scalar("loss", 0.5, 1)
        board._records = Full()
        with pytest.raises(OutputError, match=r"events\..*: can't be written: the disk is full"):
            board.write_events()
