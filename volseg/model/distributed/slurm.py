"""The environment of a SLURM job step, translated into that of torch.distributed."""

import re
from collections.abc import Mapping

FIRST_PORT, PORTS = 20_000, 10_000
"""Ports below those of outgoing connections."""


def rank_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of a task that `srun` has started.

    Empty outside of a job step, also in a batch script, whose tasks nobody has started; empty as well in
    a step of one task.
    """
    in_step = "SLURM_STEP_ID" in environment or "SLURM_STEP_NUM_TASKS" in environment
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or 1)
    if not in_step or tasks == 1 or "SLURM_PROCID" not in environment:
        return {}
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST", "localhost")
    job, step = int(environment.get("SLURM_JOB_ID", 0)), int(environment.get("SLURM_STEP_ID", 0))
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": environment.get("MASTER_ADDR") or first_node(nodes),
        "MASTER_PORT": environment.get("MASTER_PORT") or str(FIRST_PORT + (job + 97 * step) % PORTS),
    }


def first_node(nodes: str) -> str:
    """The first of a list as SLURM writes it: `node003` of `node[003-007,9],other`."""
    first = re.split(r",(?![^\[]*\])", nodes)[0]  # at a comma outside of brackets
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)
