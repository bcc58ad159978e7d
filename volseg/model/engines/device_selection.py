"""The device that a name means on this machine, and whether this build of torch can use its GPU."""

import logging
import os
import re
from collections.abc import Sequence
from functools import cache

import torch

from volseg.arguments import parse_device
from volseg.errors import UserError
from volseg.formatting import format_count
from volseg.model.distributed import process_group
from volseg.system.hardware import has_gpu

log = logging.getLogger(__name__)
WHEELS = "https://download.pytorch.org/whl"
Capability = tuple[int, int]


def find_device(name: str | None) -> torch.device:
    """The device of a name; by default this rank's GPU, else the CPU. It leaves no trace on a GPU.

    Raises:
        UserError: no such device here, or one that several ranks can't share.
    """
    if name is None:
        return process_group.rank_gpu() if torch.cuda.is_available() else torch.device("cpu")
    kind, _, number = parse_device(name).partition(":")
    if kind == "cuda":
        return _find_gpu(name, number)
    if kind == "mps":
        _refuse_ranks(name)
        if not torch.backends.mps.is_available():
            raise UserError("--device mps: there is none, as Macs with an Apple GPU have; leave it out")
    return torch.device(kind)


def usable_device(name: str | None) -> torch.device:
    """The device of a name, as `find_device` gives it, which torch can compute on.

    Raises:
        UserError: no such device, or a GPU that this build of torch has no kernels for.
    """
    device = find_device(name)
    if device.type == "cuda":
        _require_kernels(device)
    return device


def free_gpu_memory(gpu: torch.device) -> int:
    """Free bytes of a GPU. It makes a context on the GPU, so a process that only plans asks another.

    Raises:
        UserError: this build of torch has no kernels for it.
    """
    _require_kernels(gpu)
    return int(torch.cuda.mem_get_info(gpu)[0])


@cache
def warn_of_unused_gpu(name: str | None) -> None:
    """Log once that there is a GPU which this torch can't use, unless a device is named."""
    if name is None and has_gpu() and not torch.cuda.is_available():
        log.warning("there seems to be a GPU, but the work is done on the CPU: %s", _describe_lack())


def _require_kernels(gpu: torch.device) -> None:
    """Raise a UserError where this build of torch has no kernels for a GPU."""
    built = torch.cuda.get_arch_list()
    capability = torch.cuda.get_device_capability(gpu)
    if torch.version.hip or not built or _has_kernels(built, capability):
        return
    known = sorted({found[1] for found in map(_parse_architecture, built) if found})
    cure = "install a newer torch"
    if known and capability < known[0]:
        cure = f"install a build for older GPUs, such as `pip install torch --index-url {WHEELS}/cu126`"
    raise UserError(
        f"{gpu} ({torch.cuda.get_device_name(gpu)}): torch {torch.__version__} has no kernels for its "
        f"compute capability {_format_capability(capability)}, only for "
        f"{', '.join(map(_format_capability, known))}; {cure}, or pass --device cpu"
    )


def _find_gpu(name: str, number: str) -> torch.device:
    if not torch.cuda.is_available():
        raise UserError(f"--device {name}: {_describe_lack()}; or pass --device cpu")
    if not number:
        return process_group.rank_gpu()
    _refuse_ranks(name)
    count = torch.cuda.device_count()
    if int(number) >= count:
        names = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        shown = "" if given is None else f", of which CUDA_VISIBLE_DEVICES={given} shows these"
        raise UserError(
            f"--device {name}: this machine has {format_count(count, 'GPU')} ({names}){shown}; "
            f"name {'it' if count == 1 else 'one of them'}, or leave --device out"
        )
    return torch.device(name)


def _refuse_ranks(name: str) -> None:
    """Raise a UserError if several ranks would compute on the one device of this name."""
    ranks = process_group.announced_world_size()
    if ranks > 1:
        raise UserError(
            f"--device {name}: one device for {ranks} ranks; pass --device cuda, by which each has its own"
        )


def _describe_lack() -> str:
    """Why torch has no GPU to use, and what would give it one."""
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            f"torch {torch.__version__} is a build for CPUs; install one for GPUs (pytorch.org tells which)"
        )
    if not has_gpu():
        return f"torch {torch.__version__} finds no GPU on this machine"
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    return (
        f"torch {torch.__version__} can't use it, mostly as its driver is older than {build} needs; update "
        "the driver (`nvidia-smi` shows its version) or install a build of torch for an older one"
    )


def _has_kernels(built: Sequence[str], capability: Capability) -> bool:
    """Whether a build's list of architectures has one that runs on a GPU of this capability.

    Machine code (sm_80) runs on GPUs of the same major version and the same or a later minor one; that of
    one model only (sm_90a) on this model. PTX (compute_80) is compiled for all later ones.
    """
    for kind, minimum, exact in filter(None, map(_parse_architecture, built)):
        if capability == minimum:
            return True
        later = capability > minimum and not exact
        if later and (kind == "compute" or capability[0] == minimum[0]):
            return True
    return False


def _parse_architecture(name: str) -> tuple[str, Capability, bool] | None:
    """`sm_90a` as its kind, its capability, and whether it is of this model only; None for other names."""
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name)
    return match and (match[1], (int(match[2]), int(match[3])), match[4] == "a")


def _format_capability(capability: Capability) -> str:
    return ".".join(map(str, capability))
