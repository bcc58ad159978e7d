"""C-STORE: an image is on the disk before it is acknowledged, and what can't be stored gets its status."""

import errno
import logging
from typing import TYPE_CHECKING, cast

from volseg.dicom.node.image_header import MOST_BYTES, parse_header
from volseg.dicom.node.series_store import SeriesStore
from volseg.dicom.node.settings import GIGABYTE, MEGABYTE, Listen
from volseg.dicom.node.silence import describe_error

if TYPE_CHECKING:
    import io

    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event

SUCCESS, OUT_OF_RESOURCES, MISMATCH, NOT_UNDERSTOOD, FAILED = 0x0000, 0xA700, 0xA900, 0xC000, 0x0110
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
log = logging.getLogger(__name__)


class Receiver:
    """The handlers of C-STORE and C-ECHO."""

    def __init__(self, store: SeriesStore, listen: Listen, *, min_free_gb: float) -> None:
        self.store = store
        self.listen = listen
        self.min_free_bytes = min_free_gb * GIGABYTE

    def answer_echo(self, _event: "Event") -> int:
        """The status of a C-ECHO."""
        return SUCCESS

    def answer_store(self, event: "Event") -> int:
        """Store an image; the status says whether it is on the disk."""
        try:
            return self._store(event)
        except OSError as error:
            status = OUT_OF_RESOURCES if error.errno in FULL else FAILED
            log.warning("an image was not stored (0x%04X): %s", status, error.strerror or "unknown reason")
            return status
        except Exception as error:  # of hostile bytes, of any kind
            log.warning("an image was not understood: %s", describe_error(error))
            return NOT_UNDERSTOOD

    def _store(self, event: "Event") -> int:
        from pynetdicom.dsutils import encode_file_meta

        request = cast("C_STORE", event.request)
        dataset = cast("io.BytesIO", request.DataSet).getbuffer()
        if len(dataset) > self.listen.max_instance_mb * MEGABYTE or self._is_nearly_full(len(dataset)):
            log.error(
                "an image was refused (0x%04X): it is too large, or the disk is nearly full", OUT_OF_RESOURCES
            )
            return OUT_OF_RESOURCES
        preamble = b"\0" * 128 + b"DICM" + encode_file_meta(event.file_meta)
        header = parse_header(preamble + bytes(dataset[:MOST_BYTES]))
        if header is None:
            log.error("an image was refused (0x%04X): its first tags can't be read", NOT_UNDERSTOOD)
            return NOT_UNDERSTOOD
        named = (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        if named != (header.sop_class_uid, header.sop_instance_uid):
            log.error("an image was refused (0x%04X): it is not what was announced", MISMATCH)
            return MISMATCH
        content = (str(event.file_meta.TransferSyntaxUID).encode(), dataset)  # without the rest of the meta
        self.store.add_image(header.series_uid, header.sop_instance_uid, (preamble, dataset), content=content)
        return SUCCESS

    def _is_nearly_full(self, size: int) -> bool:
        return self.store.spool.free_bytes() - size < self.min_free_bytes
