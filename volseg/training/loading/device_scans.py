"""Packed scans on the training device, so that a patch needs no copy from the processor's memory."""

import torch

from volseg.training.loading.packed_crop import PackedCrop
from volseg.training.loading.packed_scan import PackedScan

SHARE = 0.25  # share of the device's free memory that scans may take


class DeviceScans:
    """Scans on a device, each sent there when it is first needed."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._scans: dict[int, PackedCrop] = {}

    def whole(self, number: int, scan: PackedScan) -> PackedCrop:
        """The scan of this number on the device."""
        if number not in self._scans:
            self._scans[number] = PackedCrop.from_scan(scan).to(self.device)
        return self._scans[number]


def device_room(device: torch.device) -> int:
    """Bytes of its own memory that a device has for scans; none on a CPU, whose memory has them already."""
    if device.type != "cuda":
        return 0
    free, _total = torch.cuda.mem_get_info(device)
    return int(SHARE * free)
