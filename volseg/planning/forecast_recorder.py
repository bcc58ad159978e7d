"""A record of what a piece of torch code computes and keeps, made without computing it on the meta device."""

import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
CONVOLUTIONS = (aten.convolution.default, aten.convolution_backward.default)
LOWERED = {"conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d", "linear", "prelu", "einsum"}
LOWERED |= {"mm", "bmm", "addmm", "baddbmm", "matmul", "__matmul__", "scaled_dot_product_attention"}
"""What torch's autocast computes in half precision on a GPU, of what networks here call."""
RAISED = {"group_norm", "layer_norm", "softmax", "log_softmax", "softplus", "exp", "log", "pow"}
"""What it computes in float32 there, of what networks here call."""


class Operation(NamedTuple):
    """A kernel: its multiplications and additions, the bytes it reads and writes, and a convolution's groups.

    `groups` is 0 of all that is no convolution.
    """

    flops: int
    moved: int
    groups: int = 0


class OperationRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records operations, and the bytes of all tensors that were made within it and still live.

    A tensor counts as long as anything refers to its storage, views and autograd included: `live` is what
    an allocator without waste would have given away, and `peak` the most of it since `reset_peak`. Tensors
    on the meta device have no memory but live as long as others would.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self.operations: list[Operation] = []
        self._storages: dict[int, weakref.ref[Any]] = {}

    def reset_peak(self) -> None:
        """Let the peak begin at what lives now."""
        self.peak = self.live

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and record it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
        for tensor in made:
            self._count_storage(tensor.untyped_storage())
        if not func.is_view:
            read = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
            moved = sum(tensor.numel() * tensor.element_size() for tensor in (*read, *made))
            flops = _flops(func, args, kwargs, result)
            self.operations.append(Operation(flops, moved, _groups(func, args)))
        return result

    def _count_storage(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001
        if key in self._storages:
            return

        def forget(_: object) -> None:
            self.live -= size
            del self._storages[key]

        self._storages[key] = weakref.ref(storage, forget)
        self.live += size
        self.peak = max(self.peak, self.live)


class GpuAutocast(TorchFunctionMode):
    """The casts of torch's autocast for a GPU, which it makes for tensors on no other device.

    It is to be left after the backward pass, so that what is checkpointed is computed again in the same
    types; torch's own does without.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch with its floating-point tensors cast as autocast does."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if func is torch.autograd.backward:
            (loss,) = tree_leaves(args)
            return _run_backward(loss, GpuAutocast(self.dtype))
        dtype = self.dtype if name in LOWERED else torch.float32 if name in RAISED else None
        if dtype is not None and self.dtype != torch.float32:
            args, kwargs = tree_map(lambda value: _cast(value, dtype), (args, kwargs))
        return func(*args, **kwargs)


@contextmanager
def recorded(dtype: torch.dtype) -> Iterator[OperationRecorder]:
    """A recorder of what is done meanwhile, with a GPU's autocast to a type (float32: none).

    A GPU does not train deterministically, so nothing does here; what this process had chosen comes back.
    """
    chosen = torch.are_deterministic_algorithms_enabled()
    warning = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(mode=False)
    try:
        with OperationRecorder() as recorder, GpuAutocast(dtype):
            yield recorder
    finally:
        torch.use_deterministic_algorithms(chosen, warn_only=warning)


def tensor_bytes(network: nn.Module) -> int:
    """Bytes of a network's weights and buffers."""
    tensors = (*network.parameters(), *network.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _run_backward(loss: Tensor, autocast: GpuAutocast) -> None:
    """Run a backward pass in a mode; torch leaves it while it calls a function that the mode has seen."""
    with autocast:
        torch.autograd.graph._engine_run_backward(  # noqa: SLF001
            (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
        )


def _cast(value: object, dtype: torch.dtype) -> object:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def _flops(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> int:
    """Multiplications and additions of an operation: those of convolutions and products of matrices.

    A convolution's backward pass takes as many as the forward one for each gradient that is asked for;
    torch's own count is too large for grouped ones.
    """
    if func is CONVOLUTIONS[0]:
        return _convolution_flops(args[0], args[1], result, transposed=args[6])
    if func is CONVOLUTIONS[1]:
        asked = int(sum(args[10][:2]))
        return asked * _convolution_flops(args[1], args[2], args[0], transposed=args[7])
    count = flop_registry.get(func.overloadpacket)
    return int(count(*args, **kwargs, out_val=result)) if count else 0


def _groups(func: Any, args: Sequence[Any]) -> int:
    """The groups of a convolution, forward or backward; 0 of another operation."""
    places = dict(zip(CONVOLUTIONS, (8, 9), strict=True))
    return int(args[places[func]]) if func in places else 0


def _convolution_flops(image: Tensor, weight: Tensor, result: Tensor, *, transposed: bool) -> int:
    """Each weight of an output's window (transposed: of an input's) is multiplied and added once."""
    return 2 * (image if transposed else result).numel() * math.prod(weight.shape[1:])
