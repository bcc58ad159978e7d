"""The files in docs/cluster/: the job script does what it says, the RayJob has only KubeRay's fields."""

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from volseg.cli.app import app

FILES = Path(__file__).resolve().parents[1] / "docs/cluster"
SCRIPT = FILES / "slurm_array.sh"
JOB = yaml.safe_load((FILES / "rayjob.yaml").read_text())

STUB = """#!/bin/bash
trap 'sleep 0.5; echo stopped >> "$TOLD"; exit 143' TERM
printf '%s\\n' "$@" > "$TOLD"
[ "${CODE:-0}" = wait ] && for _ in $(seq 200); do sleep 0.1; done
exit "${CODE:-0}"
"""


@pytest.fixture
def task(tmp_path: Path) -> dict[str, str]:
    """The environment of task 5 of 1-16, in which `volseg` notes how it was called."""
    stub = tmp_path / "volseg"
    stub.write_text(STUB)
    stub.chmod(0o755)
    array = {"TASK_ID": 5, "TASK_MIN": 1, "TASK_MAX": 16, "TASK_COUNT": 16, "TASK_STEP": 1}
    return {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TOLD": str(tmp_path / "told"),
        **{f"SLURM_ARRAY_{name}": str(number) for name, number in array.items()},
    }


def called(task: dict[str, str]) -> list[str]:
    return Path(task["TOLD"]).read_text().splitlines()


def shard(words: list[str], monkeypatch, task: dict[str, str]) -> str:
    for name, value in task.items():
        monkeypatch.setenv(name, value)
    _, arguments, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    return str(arguments.kwargs["options"].shard)


@pytest.mark.parametrize(("asked", "share"), [({}, "4/16"), ({"SHARE": "3/16"}, "3/16")])
def test_a_task_predicts_its_share(task: dict[str, str], monkeypatch, asked: dict, share: str) -> None:
    subprocess.run(["bash", SCRIPT], env={**task, **asked, "RUN": "two words"}, check=True)

    words = called(task)
    assert words[words.index("--run") + 1] == "two words"
    assert shard(words, monkeypatch, task) == share


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_code_of_the_task_is_that_of_volseg(task: dict[str, str], code: int) -> None:
    done = subprocess.run(["bash", SCRIPT], env={**task, "CODE": str(code)}, check=False)

    assert done.returncode == code


def test_the_signal_before_the_end_reaches_volseg(task: dict[str, str]) -> None:
    """SLURM sends it to the script alone, which has to wait until volseg has ended."""
    script = subprocess.Popen(["bash", SCRIPT], env={**task, "CODE": "wait"})
    end = time.monotonic() + 20
    while not Path(task["TOLD"]).is_file() and time.monotonic() < end:
        time.sleep(0.05)
    script.send_signal(signal.SIGTERM)
    script.wait(20)

    assert called(task)[-1] == "stopped"
    assert script.returncode == 143


def test_the_script_asks_slurm_for_a_whole_array() -> None:
    asked = dict(line.removeprefix("#SBATCH --").split("=", 1) for line in SCRIPT.read_text().splitlines()
                 if line.startswith("#SBATCH") and "=" in line)  # fmt: skip

    assert asked["array"] == "0-15"
    assert "%a" in asked["output"]  # a log a task


QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?(\d+\.?\d*|\.\d+))?")


def int32(value: object) -> bool:
    return type(value) is int and -(2**31) <= value < 2**31


def texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def quantities(value: object) -> bool:
    return isinstance(value, dict) and all(
        type(one) is int or (isinstance(one, str) and QUANTITY.fullmatch(one)) for one in value.values()
    )


CONTAINER = {
    "name": str, "image": str, "workingDir": str, "volumeMounts": [{"name": str, "mountPath": str}],
    "resources": {"requests": quantities, "limits": quantities},
}  # fmt: skip
POD = {
    "spec": {
        "containers": [CONTAINER],
        "volumes": [{"name": str, "persistentVolumeClaim": {"claimName": str}}],
    }
}
RAY_JOB = {
    "apiVersion": ("ray.io/v1",), "kind": ("RayJob",), "metadata": {"name": str},
    "spec": {
        "entrypoint": str, "runtimeEnvYAML": str, "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int32, "backoffLimit": int32,
        "rayClusterSpec": {
            "rayVersion": str, "enableInTreeAutoscaling": bool,
            "authOptions": {"mode": ("disabled", "token")},
            "headGroupSpec": {"serviceType": str, "rayStartParams": texts, "template": POD},
            "workerGroupSpecs": [{
                "groupName": str, "replicas": int32, "minReplicas": int32, "maxReplicas": int32,
                "rayStartParams": texts, "template": POD,
            }],
        },
    },
}  # fmt: skip
"""The fields that are used here, and what version v1 of the CRDs says that they hold.

Read by hand in ray-operator/config/crd/bases/ of two repositories, which agree in all of them:

- opendatahub-io/kuberay, commit bffcc51843c362cca31f45932dcc7f9b0d949307: ray.io_rayjobs.yaml;
- ray-project/kuberay, commit 12cb11e48d1a375a19b771ec53c3b0023d189d4e: ray.io_raycronjobs.yaml, whose
  spec.jobTemplate is the spec of a RayJob.

They require, of what is used: headGroupSpec; template in it; groupName, minReplicas, maxReplicas and
template of a worker group; containers; the name of a container and of a volume; name and mountPath of a
mount; claimName. The test wants every field that stands here, so these too.
"""


def misfits(value: object, kind: object, place: str = "") -> list[str]:
    """Where a value is not of a kind: a type, one of some texts, a check, or a dict or list of kinds."""
    if isinstance(kind, dict | list) and type(value) is not type(kind):
        return [place]
    if isinstance(kind, dict):
        inner = [found for name in kind for found in misfits(value.get(name), kind[name], f"{place}.{name}")]
        return [*inner, *(f"{place}.{name}" for name in {*value} - {*kind})]
    if isinstance(kind, list):
        return [found for one in value for found in misfits(one, kind[0], f"{place}[]")]
    if isinstance(kind, tuple):
        return [] if value in kind else [place]
    return [] if (type(value) is kind if isinstance(kind, type) else kind(value)) else [place]


def test_the_ray_job_has_the_fields_of_kuberay_and_no_other() -> None:
    assert misfits(JOB, RAY_JOB) == []


def test_a_field_of_another_name_or_kind_would_be_noticed() -> None:
    cluster = {**JOB["spec"]["rayClusterSpec"], "rayVersoin": "2.60.0"}
    head = {**cluster["headGroupSpec"], "rayStartParams": {"num-cpus": 0}}
    cluster |= {"authOptions": {"mode": "none"}, "headGroupSpec": head}
    wrong = {**JOB, "spec": {**JOB["spec"], "backoffLimit": "1", "rayClusterSpec": cluster}}

    assert misfits(wrong, RAY_JOB) == [
        ".spec.backoffLimit",
        ".spec.rayClusterSpec.authOptions.mode",
        ".spec.rayClusterSpec.headGroupSpec.rayStartParams",
        ".spec.rayClusterSpec.rayVersoin",
    ]
    assert not misfits({"cpu": 2, "memory": "8Gi", "nvidia.com/gpu": "1"}, quantities)
    assert misfits({"memory": "8GiB"}, quantities, "memory") == ["memory"]


def test_the_ray_job_wants_a_token_and_keeps_its_ports_inside_the_cluster() -> None:
    cluster = JOB["spec"]["rayClusterSpec"]

    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_the_ray_job_runs_a_command_that_exists_on_the_version_that_was_tested() -> None:
    words = shlex.split(JOB["spec"]["entrypoint"])
    pins = (FILES.parents[1] / "constraints.txt").read_text()

    app.parse_args(words[1:], exit_on_error=False, print_error=False)
    assert words[0] == "volseg"
    assert f"ray=={JOB['spec']['rayClusterSpec']['rayVersion']}" in pins


def test_every_container_of_the_ray_job_has_all_volumes_and_one_image() -> None:
    cluster = JOB["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]

    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    for pod in pods:
        names = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == names
