"""What the child processes of inference.py do: each side, and all that is not timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from volseg.inference.predictor import build_predictor, ensemble_member
from volseg.system.hardware import available_cores, peak_memory

WINDOW = (96, 96, 96)
CLASSES = ("large_bowel", "small_bowel", "stomach")


@dataclass(frozen=True)
class Order:
    """What a child process is to do: a network's run on a scan. `begun` is when it was started."""

    network: str
    run: str
    data: str
    scan: str
    out: str
    tta: bool = False
    batch: int = 1
    begun: float = 0.0


def whole(order: Order) -> dict[str, Any]:
    """Volseg's own stage with plain's windows, over the whole scan."""
    return ours(order, body_box=False)


def ours(order: Order, *, body_box: bool = True) -> dict[str, Any]:
    """Volseg's own stage."""
    from volseg.arguments import InferArguments
    from volseg.inference import infer as stage
    from volseg.inference.ensemble import Ensemble, LoadedEnsemble

    load, ready = Ensemble.load, [0.0]

    def stamped(by: Ensemble, *options: Any, **named: Any) -> LoadedEnsemble:
        loaded = load(by, *options, **named)
        ready[0] = time.time()
        return loaded

    Ensemble.load = stamped  # type: ignore[method-assign]
    out = Path(order.out) / ("ours" if body_box else "whole")
    done = stage.infer(
        InferArguments(
            run=(order.run,), data=Path(order.data), out=out, case=(order.scan,), body_box=body_box
        )
    )
    seconds, memory = time.time() - ready[0], peak_memory()
    steps = done.records[0].seconds
    steps["not told"] = seconds - sum(steps.values())
    startup = ready[0] - order.begun
    return {"startup": startup, "seconds": seconds, "memory": memory, "steps": steps}


def plain(order: Order) -> dict[str, Any]:
    """What a script by MONAI's tutorials does."""
    import nibabel
    import numpy as np
    import torch

    network = plain_network(order)
    ready = time.time()
    spent: dict[str, float] = {"network": 0.0}
    windows = [0]

    def counted(batch: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        logits = network(batch)
        spent["network"] += time.perf_counter() - start
        windows[0] += len(batch)
        return logits

    image = nibabel.load(_image(order))
    scan = normalised(image.get_fdata(dtype=np.float32))
    with torch.inference_mode():
        probability = mean_probability(scan, counted, order)
        masks = (probability >= 0.5).numpy().astype(np.uint8)
    out = Path(order.out) / "plain"
    out.mkdir(parents=True, exist_ok=True)
    for name, mask in zip(CLASSES, masks, strict=True):
        nibabel.save(nibabel.Nifti1Image(mask, image.affine), out / f"{name}.nii.gz")
    seconds, memory = time.time() - ready, peak_memory()
    _keep(order, "plain", probability)
    spent["not told"] = seconds - spent["network"]
    return {
        "startup": ready - order.begun,
        "seconds": seconds,
        "memory": memory,
        "steps": spent,
        "windows": windows[0],
    }


def normalised(voxels: Any) -> Any:
    """The scan (X, Y, Z) as a tensor (1, 1, X, Y, Z), in [0, 1]."""
    import numpy as np
    import torch

    low, high = np.percentile(voxels[voxels > 0], (0.5, 99.5))
    scan = np.clip((voxels - np.float32(low)) / np.float32(high - low), 0, 1)
    return torch.from_numpy(scan)[None, None]


def mean_probability(scan: Any, network: Callable[..., Any], order: Order) -> Any:
    """Of each class, (K, X, Y, Z), from the scan (1, 1, X, Y, Z), and from its mirrored views."""
    from monai.inferers import sliding_window_inference

    views: list[list[int]] = [[], [2], [3], [2, 3]] if order.tta else [[]]
    total: Any = 0
    for axes in views:
        logits = sliding_window_inference(
            scan.flip(axes),
            roi_size=WINDOW,
            sw_batch_size=order.batch,
            predictor=network,
            overlap=0.5,
            mode="gaussian",
            sigma_scale=0.125,
        )
        total = total + logits.flip(axes).sigmoid()
    return total[0] / len(views)


def plain_network(order: Order) -> Any:
    """MONAI's own class with the run's weights."""
    import torch
    from monai.networks import nets
    from safetensors.torch import load_file

    torch.set_num_threads(available_cores())
    kind, settings = {
        "unet": (
            nets.UNet,
            {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2), "num_res_units": 2},
        ),
        "segresnet": (nets.SegResNet, {"init_filters": 16, "blocks_down": (1, 2, 2, 4)}),
        "swinunetr": (nets.SwinUNETR, {"feature_size": 24}),
    }[order.network]
    network = kind(spatial_dims=3, in_channels=1, out_channels=len(CLASSES), **settings)
    network.load_state_dict(load_file(Path(order.run) / "best.safetensors"), strict=True)
    return network.eval()


def _image(order: Order) -> Path:
    return Path(order.data) / "images" / f"{order.scan}.nii.gz"


def pick(order: Order) -> dict[str, Any]:
    """The plain side's faster batch, and the operations of its network in one window."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network, windows = plain_network(order), torch.rand(4, 1, *WINDOW)
    took = {}
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(windows[:1])
        for batch in (1, 4):
            network(windows[:batch])
            start = time.perf_counter()
            for part in windows.split(batch):
                network(part)
            took[batch] = time.perf_counter() - start
    return {"batch": min(took, key=lambda b: took[b]), "operations": counter.get_total_flops()}


def peak(_: Order) -> dict[str, Any]:
    """Operations a second of the best of some products of matrices in bf16."""
    import torch

    torch.set_num_threads(available_cores())
    one = torch.rand(4096, 4096).bfloat16()
    took = []
    for _round in range(6):
        start = time.perf_counter()
        one @ one
        took.append(time.perf_counter() - start)
    return {"peak": 2 * 4096**3 / min(took)}


def maps(order: Order) -> dict[str, Any]:
    """Our probabilities in 255ths, each way a file (K, X, Y, Z), and the body box."""
    import numpy as np

    from volseg.arguments import InferArguments
    from volseg.inference.ensemble import Ensemble
    from volseg.inference.predictor import window_tiling
    from volseg.inference.scan_sources import find_scan_sources
    from volseg.system.hardware import spin_briefly

    spin_briefly()
    by = Ensemble.open((order.run,))
    asked = InferArguments(data=Path(order.data), case=(order.scan,))
    channels = find_scan_sources(asked, by)[0].read_channels()
    loaded = by.load(InferArguments()).predictor
    _keep(order, "default", _bytes(loaded, channels))
    _keep(order, "whole", _bytes(by.load(InferArguments(body_box=False)).predictor, channels))
    member = loaded.members[0]
    view = member.network_input(channels)
    placed = window_tiling(view, member.inference, member.window, reach=member.reach)
    inside = np.zeros(channels[0].voxels.shape, bool)
    view.grid.orient(inside)[placed.box] = True
    _keep(order, "inside", inside)
    box = [[one.start, one.stop] for one in placed.box]
    return {"windows": placed.window_count * len(member.tta_networks), "box": box}


def controls(order: Order) -> dict[str, Any]:
    """What torch gives in fp32 by our windows, and plain with windows laid from the far end."""
    import torch

    from volseg.data import volume_files
    from volseg.inference.ensemble import Ensemble

    network = plain_network(order)
    scan = volume_files.read(_image(order))
    by_torch = _by_torch(Ensemble.open((order.run,)))
    _keep(order, "fp32", _bytes(by_torch, [scan]))

    def turned(windows: Any) -> Any:
        return network(windows.flip(2, 3, 4)).flip(2, 3, 4)

    with torch.inference_mode():
        far = mean_probability(normalised(scan.voxels).flip(2, 3, 4), turned, order)
        _keep(order, "plain_far", far.flip(1, 2, 3))
    return {}


def _by_torch(by: Any) -> Any:
    """What predicts a run in fp32 by torch."""
    from volseg.model.engines import EngineOptions, Torch

    run = by.runs[0]
    network = Torch().load(replace(run.trained_model, precision="fp32"), EngineOptions(available_cores()))
    return build_predictor(run, ensemble_member(run, network))


def _bytes(predictor: Any, channels: Any) -> Any:
    import numpy as np

    from volseg.system.timing import StepTimer

    maps = predictor.predict_probabilities(channels, StepTimer())
    return np.stack([maps.class_probability(number) for number in range(len(CLASSES))])


def _keep(order: Order, name: str, values: Any) -> None:
    import numpy as np

    np.save(Path(order.out) / f"{name}.npy", np.asarray(values))
