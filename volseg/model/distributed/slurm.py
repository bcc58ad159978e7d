"""What SLURM says of the tasks of a job step, in the words that torch.distributed reads."""

import re
from collections.abc import Mapping

FIRST_PORT, PORTS = 20_000, 10_000
"""Below those that systems give to outgoing connections."""


def rank_environment(found: Mapping[str, str]) -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of a task that `srun` has started.

    Empty outside of a job step, also in a batch script: there SLURM tells of tasks too, but nobody
    has started them. Empty as well where the step has only one.
    """
    in_step = "SLURM_STEP_ID" in found or "SLURM_STEP_NUM_TASKS" in found
    tasks = int(found.get("SLURM_STEP_NUM_TASKS") or found.get("SLURM_NTASKS") or 1)
    if not in_step or tasks == 1 or "SLURM_PROCID" not in found:
        return {}
    nodes = found.get("SLURM_STEP_NODELIST") or found.get("SLURM_NODELIST", "localhost")
    job, step = int(found.get("SLURM_JOB_ID", 0)), int(found.get("SLURM_STEP_ID", 0))
    return {
        "RANK": found["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": found.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": found.get("MASTER_ADDR") or first_node(nodes),
        "MASTER_PORT": found.get("MASTER_PORT") or str(FIRST_PORT + (job + 97 * step) % PORTS),
    }


def first_node(nodes: str) -> str:
    """The first of a list as SLURM writes it: `node003` of `node[003-007,9],other`."""
    first = re.split(r",(?![^\[]*\])", nodes)[0]  # at a comma outside of brackets
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)
