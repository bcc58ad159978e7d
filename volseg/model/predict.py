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

from volseg.data.grid import stack
from volseg.data.settings import Data
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.masks.postprocess import Evidence, Step, clean
from volseg.model.device import Device
from volseg.model.settings import Inference, Size

Mask = npt.NDArray[np.bool_]


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
    """A trained network with all it takes to apply it to a native volume."""

    network: nn.Module
    device: Device
    data: Data
    inference: Inference
    window: Size
    classes: tuple[str, ...]
    postprocess: tuple[Step, ...]

    def masks(
        self, channels: Sequence[Volume], seconds: Seconds | None = None
    ) -> Iterator[tuple[str, Mask]]:
        """Each class and its cleaned mask (X, Y, Z) on the native grid of the first channel."""
        spent = seconds or Seconds()
        with spent.step("normalise"):
            grid, image = stack(channels, self.data.spacing_mm, self.data.intensity)
        with spent.step("network"):
            logits = self._logits(torch.from_numpy(image)[None])[0]
            if not torch.isfinite(logits).all():
                raise UserError(
                    f"the network's output is not finite in {self.device.dtype}; "
                    "set train.precision: fp32 in the run's config.yaml"
                )
        for index, name in enumerate(self.classes):
            with spent.step("restore"):
                probability = eight_bit(grid.restore(torch.sigmoid(logits[index]).numpy()))
            with spent.step("postprocess"):
                evidence = Evidence.start(
                    probability, image=channels[0].voxels, spacing_mm=channels[0].spacing_mm
                )
                mask = clean(evidence, self.postprocess, name)
            yield name, mask

    @torch.inference_mode()
    def _logits(self, image: Tensor) -> Tensor:
        """(1, C, X, Y, Z) to float32 logits (1, K, X, Y, Z), blended by a Gaussian in each window."""
        self.network.eval()
        return sliding_window(self._run, image, self.window, self.inference)

    def _run(self, windows: Tensor) -> Tensor:
        with self.device.autocast():
            return self.network(self.device.send(windows)).float().cpu()  # type: ignore[no-any-return]


def eight_bit(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
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
