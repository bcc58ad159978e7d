"""GPUs by name or by memory, and the time that a training step takes on them.

Memory and peak speeds are those of the vendor's data sheets. The shares of them that training reaches are
fitted to seconds of an epoch that nnU-Net's authors measured on data made up beforehand
(documentation/expected_epoch_times.md, "3d_fullres dummy", and "large" of the liver): eleven figures, of an
A100, a V100, a Quadro RTX 6000 and an RTX 2080 Ti, which are met within 7 % (root mean square; the worst:
10 %). Other networks, layouts and versions of torch are further off: take 30 %.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from volseg.errors import UserError, nearest_hint
from volseg.formatting import format_bytes
from volseg.planning.forecast_recorder import Operation

ARITHMETIC, MOVING = 0.5, 0.6
"""Shares of a GPU's peaks that operations reach: of arithmetic, and of its memory's bandwidth."""
CONVOLVING = 0.07
"""The share of the bandwidth in convolutions: with few channels they are limited by neither peak."""
LAUNCH_SECONDS = 6e-6
"""Seconds in which the processor launches an operation; a step is no faster than all of them."""


@dataclass(frozen=True)
class Gpu:
    """A GPU: bytes of its memory, its peaks of arithmetic in 1/s, and bytes a second of its memory.

    Arithmetic is in half precision on tensor cores with sums in float32, and in single precision (TF32 where
    there is that). `like` names the GPU whose speed is taken where only the memory is known.
    """

    name: str
    memory: int
    half_flops: float
    single_flops: float
    bandwidth: float
    has_bfloat16: bool = True
    like: str = ""

    @property
    def precision(self) -> Literal["bf16", "fp16"]:
        """What `train.precision: auto` is on it."""
        return "bf16" if self.has_bfloat16 else "fp16"

    def step_seconds(self, operations: Sequence[Operation], *, half: bool) -> float:
        """Seconds of operations, each limited by its arithmetic or by the memory (the roofline model)."""
        peak = self.half_flops if half else self.single_flops
        busy = 0.0
        for operation in operations:
            bandwidth = (CONVOLVING if operation.groups else MOVING) * self.bandwidth
            busy += max(operation.flops / (ARITHMETIC * peak), operation.moved / bandwidth)
        return max(busy, LAUNCH_SECONDS * len(operations))

    def __str__(self) -> str:
        speed = f", as fast as a {self.like}" if self.like else ""
        return f"{self.name} ({format_bytes(self.memory)}{speed})"


GB, TERA, GIGA = 10**9, 1e12, 1e9
GPUS = (
    Gpu("RTX 2080 Ti", 11 * GB, 53.8 * TERA, 13.4 * TERA, 616 * GIGA, has_bfloat16=False),
    Gpu("T4", 16 * GB, 65 * TERA, 8.1 * TERA, 320 * GIGA, has_bfloat16=False),
    Gpu("RTX 3090", 24 * GB, 71 * TERA, 35.6 * TERA, 936 * GIGA),
    Gpu("RTX 4090", 24 * GB, 165.2 * TERA, 82.6 * TERA, 1008 * GIGA),
    Gpu("V100", 32 * GB, 125 * TERA, 15.7 * TERA, 900 * GIGA, has_bfloat16=False),
    Gpu("A100 40GB", 40 * GB, 312 * TERA, 156 * TERA, 1555 * GIGA),
    Gpu("A100 80GB", 80 * GB, 312 * TERA, 156 * TERA, 2039 * GIGA),
    Gpu("H100", 80 * GB, 989 * TERA, 494 * TERA, 3350 * GIGA),
)
"""From little to much memory; a GB is 10^9 bytes, so that a little stays free."""
SHORT = {"a100": "a10080gb"}
"""What a name that fits several means."""


def find_gpu(text: str) -> Gpu:
    """The GPU that `--gpu` names: `4090`, `T4`, `RTX 4090`, `A100 40GB`, or only memory, `24GB`.

    Of memory alone the speed is that of the slowest GPU here that has as much, or of the last.

    Raises:
        UserError: anything else.
    """
    wanted = _squeezed(text)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(g|gb|gib)", wanted)
    if match is None or not float(match[1]) or text.lstrip().startswith("-"):
        return _named_gpu(text)
    memory = int(float(match[1]) * (2**30 if match[2] == "gib" else GB))
    large = [gpu for gpu in GPUS if gpu.memory >= memory] or [GPUS[-1]]
    like = min(large, key=lambda gpu: gpu.bandwidth)
    return replace(like, name="a GPU", memory=memory, like=like.name)


def _named_gpu(text: str) -> Gpu:
    wanted = SHORT.get(_squeezed(text), _squeezed(text))
    for gpu in GPUS:
        if wanted in (_squeezed(gpu.name), _squeezed(gpu.name).removeprefix("rtx")):
            return gpu
    names = [gpu.name for gpu in GPUS]
    raise UserError(
        f"--gpu: {text!r} is no GPU known here{nearest_hint(text, names)}; expected one of "
        f"{', '.join(names)}, or its memory, e.g. 24GB"
    )


def _squeezed(text: str) -> str:
    """A name as it is compared: without spaces, signs, maker and capitals."""
    return re.sub(r"[^a-z0-9.]|nvidia|geforce|tesla", "", text.lower())
