import pytest

from volseg.model.distributed.slurm import first_node, rank_environment

STEP = {
    "SLURM_JOB_ID": "1234567", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_NTASKS": "8", "SLURM_NODELIST": "gpu[01-08]",
}  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node1", "node1"),
        ("a1,a2", "a1"),
        ("node[003-007,9]", "node003"),
        ("node[9,003-007],other", "node9"),
        ("rack[2-3]-node[010-020],x", "rack2-node010"),
        ("gpu-a-1.cluster,gpu-a-2.cluster", "gpu-a-1.cluster"),
        ("n[1-2]-ib", "n1-ib"),
    ],
)
def test_the_first_node_of_a_list_is_found(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_a_task_of_a_step_is_told_in_the_words_of_torch() -> None:
    assert rank_environment(STEP) == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "24567",
    }


def test_all_tasks_of_a_step_meet_at_one_place_and_other_steps_elsewhere() -> None:
    def place(**other: str) -> tuple[str, str]:
        told = rank_environment({**STEP, **other})
        return told["MASTER_ADDR"], told["MASTER_PORT"]

    assert place() == place(SLURM_PROCID="0", SLURM_LOCALID="0")
    assert place() != place(SLURM_STEP_ID="1")
    assert place() != place(SLURM_JOB_ID="1234568")


def test_a_place_that_is_given_stays() -> None:
    told = rank_environment({**STEP, "MASTER_ADDR": "here", "MASTER_PORT": "1"})

    assert (told["MASTER_ADDR"], told["MASTER_PORT"]) == ("here", "1")


@pytest.mark.parametrize(
    "found",
    [
        {},
        # a batch script with 8 tasks, of which nobody has started any
        {name: value for name, value in STEP.items() if "STEP" not in name} | {"SLURM_PROCID": "0"},
        # `srun --ntasks=1` within such a script
        {**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
    ],
    ids=["no SLURM", "no step", "one task"],
)
def test_a_process_that_nobody_joins_waits_for_none(found: dict[str, str]) -> None:
    assert rank_environment(found) == {}
