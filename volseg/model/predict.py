"""From native volumes to masks: the one path of validation and of inference."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from volseg.data.grid import Grid, Intensity, Spacing, stack
from volseg.data.settings import Data
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.masks.postprocess import Evidence, Step, clean, disjoint
from volseg.model.device import Device
from volseg.model.logits import evidence
from volseg.model.settings import Inference, Size

Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]


@dataclass
class Seconds:
    """Time spent by step, in seconds."""

    by_step: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of the body to a step."""
        start = time.perf_counter()
        yield
        self.by_step[name] = self.by_step.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Predictor:
    """A trained network with all it takes to apply it to a native volume.

    The logits of `others` are averaged with its own; their post-processing has no effect.
    """

    network: nn.Module
    device: Device
    data: Data
    inference: Inference
    window: Size
    classes: tuple[str, ...]
    postprocess: tuple[Step, ...]
    exclusive: bool
    others: "tuple[Predictor, ...]" = ()

    def masks(
        self, channels: Sequence[Volume], seconds: Seconds | None = None
    ) -> Iterator[tuple[str, Mask]]:
        """Each class and its cleaned mask (X, Y, Z) on the native grid of the first channel.

        Masks of exclusive classes never overlap, whatever the cleaning does.
        """
        spent = seconds or Seconds()
        grid, logits = self._mean_logits(channels, spent)
        cleaned = self._cleaned(logits, grid, first=channels[0], spent=spent)
        if self.exclusive:
            masks = disjoint(cleaned, channels[0].voxels.shape)
        else:
            masks = (mask for _, mask in cleaned)
        yield from zip(self.classes, masks, strict=True)

    def _cleaned(
        self, logits: Tensor, grid: Grid, *, first: Volume, spent: Seconds
    ) -> Iterator[tuple[Bytes, Mask]]:
        """Each class's evidence in 8 bits and its cleaned mask, both (X, Y, Z) on the native grid."""
        found = evidence(logits, exclusive=self.exclusive)
        for name in self.classes:
            with spent.step("restore"):
                probability = eight_bit(grid.restore(next(found).numpy()))
            with spent.step("postprocess"):
                start = Evidence.start(probability, image=first.voxels, spacing_mm=first.spacing_mm)
                mask = clean(start, self.postprocess, name)
            yield probability, mask

    @torch.inference_mode()
    def _mean_logits(self, channels: Sequence[Volume], spent: Seconds) -> tuple[Grid, Tensor]:
        """This network's grid, and on it the mean of all networks' logits, float32 (K, X, Y, Z).

        Only their sum so far and one network's are held at a time.
        """
        grid, image = self.input(channels, spent)
        total = self.logits(image, spent)
        for other in self.others:
            same = other.view == self.view
            logits = other.logits(image if same else other.input(channels, spent)[1], spent)
            for summed, found in zip(total, logits, strict=True):
                summed.add_(torch.from_numpy(grid.fitted(found.numpy())))
        if self.others:
            total /= 1 + len(self.others)
        return grid, total

    def input(
        self, channels: Sequence[Volume], spent: Seconds
    ) -> tuple[Grid, npt.NDArray[np.float32]]:
        """The network's grid and its input (C, X, Y, Z)."""
        with spent.step("normalise"):
            return stack(channels, *self.view)

    @property
    def view(self) -> tuple[Spacing | None, Intensity]:
        """All that its input depends on beside the scan."""
        return self.data.spacing_mm, self.data.intensity

    def logits(self, image: npt.NDArray[np.float32], spent: Seconds) -> Tensor:
        """(C, X, Y, Z) to float32 logits (K, X, Y, Z), blended by a Gaussian in each window."""
        with spent.step("network"):
            self.network.eval()
            batch = torch.from_numpy(image)[None]
            logits = sliding_window(self._run, batch, self.window, self.inference)[0]
            if not torch.isfinite(logits).all():
                raise UserError(
                    f"the network's output is not finite in {self.device.dtype}; "
                    "set train.precision: fp32 in the run's config.yaml"
                )
            return logits

    def _run(self, windows: Tensor) -> Tensor:
        with self.device.autocast():
            return self.network(self.device.send(windows)).float().cpu()  # type: ignore[no-any-return]


def eight_bit(probability: npt.NDArray[np.float32]) -> Bytes:
    """Probabilities 0..1 as 0..255, rounded to the nearest."""
    return np.rint(probability * 255).astype(np.uint8)


def sliding_window(
    network: "nn.Module | object", image: Tensor, window: Size, inference: Inference
) -> Tensor:
    """Apply a network window by window and blend; a scan smaller than the window is padded."""
    result: Tensor = sliding_window_inference(
        image,
        roi_size=window,
        sw_batch_size=inference.batch,
        predictor=network,
        overlap=inference.overlap,
        mode="gaussian",
        sigma_scale=0.125,
        device=torch.device("cpu"),
        progress=False,
    )
    return result
