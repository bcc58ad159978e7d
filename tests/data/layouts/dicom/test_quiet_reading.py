import logging
import warnings

import pytest

from volseg.data.layouts.dicom.quiet_reading import silenced_pydicom


def test_silence_lasts_until_the_last_reader_ends(recwarn: pytest.WarningsRecorder) -> None:
    """Readers in several threads begin and end in any order."""
    level = logging.getLogger("pydicom").level
    first, second = silenced_pydicom(), silenced_pydicom()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    warnings.warn("Unknown encoding CANARY", UserWarning, stacklevel=1)
    silent = not logging.getLogger("pydicom").isEnabledFor(logging.CRITICAL)
    second.__exit__(None, None, None)

    assert silent
    assert not recwarn.list
    assert logging.getLogger("pydicom").level == level
    warnings.warn("heard again", UserWarning, stacklevel=1)
    assert [str(one.message) for one in recwarn.list] == ["heard again"]
