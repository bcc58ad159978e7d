"""The device's part of training batches: patches are cut from packed crops there, and varied."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from volseg.training.augmentation.drawn_patch import DrawnPatch
from volseg.training.augmentation.grey_values import multiply_classes
from volseg.training.augmentation.resampling import cut_patch
from volseg.training.augmentation.slice_ends import complete_ends
from volseg.training.loading.device_scans import DeviceScans
from volseg.training.loading.packed_crop import PackedCrop

Batch = dict[str, Any]
TENSORS = ("image", "label", "teacher", "taught")
"""What of a batch lies on the device."""


@dataclass(frozen=True)
class PreparedPatch:
    """A drawn patch, and its packed crop in memory; None where the scans lie on the device."""

    position: int
    name: str
    drawn: DrawnPatch
    box: tuple[slice, ...]
    scan_index: int
    crop: PackedCrop | None = None


class BatchCutter:
    """The cutting of batches on a device, on a GPU beside the network's own work.

    `reach` is the network's along z, in slices. Those that are `taught` have a teacher's probabilities:
    `teacher` uint8 (B, K, X, Y, Z) in 255ths, and `taught` uint8 (B, Z), 1 for slices that it has its say in:
    those of scans that it has maps of, but for the ends that a network with such a reach can't see whole.
    """

    def __init__(
        self, device: torch.device, scans: DeviceScans | None = None, *, reach: int = 0, taught: bool = False
    ) -> None:
        self.device = device
        self.scans = scans
        self.reach = reach
        self.taught = taught
        # Its work is little, and would else wait for room beside each of the network's kernels.
        on_gpu = device.type == "cuda"
        self.stream = torch.cuda.Stream(device, priority=-1) if on_gpu else None  # type: ignore[no-untyped-call]

    def cut_batches(self, prepared: Iterator[list[PreparedPatch]]) -> Iterator[Batch]:
        """The batches; on a GPU each is begun before the one ahead of it is used."""
        if self.stream is None:
            yield from map(self._cut_batch, prepared)
            return
        begun = None
        for patches in prepared:
            ahead, begun = begun, self._begin_batch(self.stream, patches)
            if ahead is not None:
                yield self._hand_over(*ahead)
        if begun is not None:
            yield self._hand_over(*begun)

    def _begin_batch(
        self, stream: torch.cuda.Stream, patches: list[PreparedPatch]
    ) -> tuple[Batch, torch.cuda.Event]:
        """The batch, and the event after which it is there."""
        with torch.cuda.stream(stream):
            batch = self._cut_batch(patches)
            return batch, stream.record_event()

    def _hand_over(self, batch: Batch, there: torch.cuda.Event) -> Batch:
        """The batch for the current stream, which waits for it."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(there)
        for name in TENSORS:
            if name in batch:
                batch[name].record_stream(current)
        return batch

    @torch.no_grad()
    def _cut_batch(self, patches: list[PreparedPatch]) -> Batch:
        scan, size = patches[0].drawn.scan, patches[0].drawn.frame.size
        image = torch.zeros((len(patches), len(scan.image), *size), device=self.device)
        label = torch.zeros((len(patches), scan.class_count, *size), dtype=torch.uint8, device=self.device)
        batch: Batch = {"image": image, "label": label}
        if self.taught:
            batch |= {"teacher": torch.zeros_like(label), "taught": label.new_zeros(len(patches), size[2])}
        for number, patch in enumerate(patches):
            self._cut(patch, {name: tensor[number] for name, tensor in batch.items()})
            multiply_classes(image[number], label[number], patch.drawn.class_factors)
            for blob in patch.drawn.blobs:
                blob.paint(image[number], label[number])
            for change in patch.drawn.changes:
                change(image[number])
        batch["position"] = torch.tensor([patch.position for patch in patches])
        return batch | {"name": [patch.name for patch in patches]}

    def _cut(self, patch: PreparedPatch, its: dict[str, Tensor]) -> None:
        """Write a patch into its place in a batch's tensors, which are zero."""
        crop, frame = self._crop(patch), patch.drawn.frame
        cut_patch(crop, frame, its["image"], its["label"], its.get("teacher"))
        seen = slice(None)
        if self.reach:
            depth = patch.drawn.scan.shape[2]
            seen = complete_ends(frame, depth, self.reach, image=its["image"], label=its["label"])
        if self.taught and crop.teacher is not None:
            its["taught"][seen].fill_(1)

    def _crop(self, patch: PreparedPatch) -> PackedCrop:
        """The crop on the device."""
        if patch.crop is not None:
            return patch.crop.to(self.device)
        if self.scans is None:
            message = f"{patch.name}: neither a crop nor scans on the device"
            raise ValueError(message)
        return self.scans.whole(patch.scan_index, patch.drawn.scan).window(patch.box)
