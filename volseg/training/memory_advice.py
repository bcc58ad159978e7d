"""The settings by which a training takes less memory."""

from volseg.config.config import Config
from volseg.formatting import format_size
from volseg.model.distributed import process_group


def memory_advice(config: Config) -> str:
    """What to change in a config whose step takes too much memory; it begins a new run."""
    train, ways = config.train, []
    parts = next_part_count(train.batch, train.accumulate, ranks=process_group.world_size())
    if parts is not None:
        ways.append(f"train.accumulate={parts}")
    if getattr(config.network, "use_checkpoint", True) is False:
        ways.append("network.use_checkpoint=true")
    ways.append(f"a train.patch smaller than {format_size(train.patch)}")
    first = ", ".join(ways[:-1])
    return (
        f"a step takes less with {first + ' or ' if first else ''}{ways[-1]}, in a new run (--run NAME); "
        "with more memory free, --resume goes on"
    )


def next_part_count(batch: int, parts: int, *, ranks: int) -> int | None:
    """The next larger number of equal parts of a batch that leaves each rank a patch in each; None: none."""
    larger = range(parts + 1, batch // ranks + 1)
    return next((count for count in larger if batch % count == 0), None)
