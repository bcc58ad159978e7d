import pytest
from torch import distributed

from volseg.model.distributed.collective_errors import advice, error_line, is_collective_error

GLOO = (
    "[/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:56465: "
    "Connection reset by peer. This is typically caused by a remote worker hanging or bugs."
)
LATE = (
    "[../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv "
    "operation to complete"
)
DUPLICATE = """NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.cpp:77, invalid usage, NCCL 2.20
ncclInvalidUsage: This usually reflects invalid usage of NCCL library.
Last error:
Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 50
"""
UNHANDLED = (
    "NCCL error in: ../torch/csrc/NCCLUtils.cpp:77, unhandled cuda error (run with NCCL_DEBUG=INFO for "
    "details), NCCL version 2.27.3\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n"
)
STORE = (
    "Timed out after 601 seconds waiting for clients. 1/2 clients joined.\n"
    "Exception raised from waitForWorkers at ../TCPStore.cpp:1"
)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError(GLOO), "Read error [127.0.0.1]:56465: Connection reset by peer"),
        (RuntimeError(LATE), "Timed out waiting 1800000ms for recv operation to complete"),
        (
            distributed.DistBackendError(DUPLICATE),
            "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 50",
        ),
        (distributed.DistBackendError(UNHANDLED), "unhandled cuda error"),
        (
            distributed.DistStoreError(STORE),
            "Timed out after 601 seconds waiting for clients. 1/2 clients joined",
        ),
        (distributed.DistBackendError(""), "DistBackendError"),
    ],
    ids=["gloo", "late", "NCCL's last error", "NCCL without one", "store", "empty"],
)
def test_the_line_of_an_error_that_says_what_is_wrong_is_found(error: RuntimeError, line: str) -> None:
    assert error_line(error) == line
    assert is_collective_error(error)


def test_an_error_of_a_network_is_none_of_a_collective_operation() -> None:
    assert not is_collective_error(RuntimeError("expected scalar type Float but found Half"))
    assert not is_collective_error(OSError("Connection reset by peer"))


def test_advice_is_for_the_library_that_failed() -> None:
    assert "NCCL_DEBUG=INFO" in advice(RuntimeError(DUPLICATE))
    assert "network between the machines" in advice(RuntimeError(GLOO))
