"""Errors of collective operations: of c10d, gloo and NCCL."""

import re

from torch import distributed

COLLECTIVE = re.compile(r"gloo|nccl|c10d|connection (closed|reset)", re.IGNORECASE)
PLACES = re.compile(
    r"^(\[[^\]]*\.(cc|cpp|hpp|h):\d+\]|\[rank\d+\]:?|NCCL error in: \S+:\d+,|\S+\.cpp:\d+:?)\s*"
)
"""What stands before the text of an error: places in the sources."""
NOISE = (" This is typically caused by ", " (run with NCCL_DEBUG", "Exception raised from")


def is_collective_error(error: BaseException) -> bool:
    """Whether an error comes from a collective operation; torch has no class for it with gloo."""
    return isinstance(error, RuntimeError) and (
        isinstance(error, distributed.DistError) or bool(COLLECTIVE.search(str(error)))
    )


def error_line(error: BaseException) -> str:
    """The line of an error that says what is wrong: of NCCL's the one below `Last error:`, else the first.

    Places in the sources and advice to look elsewhere are left out.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    after = next((number for number, line in enumerate(lines) if line.startswith("Last error:")), None)
    if after is not None:
        told = lines[after].removeprefix("Last error:").strip() or " ".join(lines[after + 1 : after + 2])
        if told:
            return told
    line = lines[0] if lines else type(error).__name__
    while PLACES.match(line):
        line = PLACES.sub("", line)
    for noise in NOISE:
        line = line.partition(noise)[0]
    return line.rstrip(" .") or type(error).__name__


def advice(error: BaseException) -> str:
    """What helps against an error of a collective operation that is not another rank's end."""
    if "nccl" in str(error).lower():
        return "NCCL_DEBUG=INFO makes NCCL tell more, --device cpu does without it"
    return "look at the network between the machines"
