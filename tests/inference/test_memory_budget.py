import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from volseg.arguments import TrainArguments
from volseg.config.sections import Data, Inference
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.inference.memory_budget import MemoryBudget, warm_up_networks
from volseg.inference.predictor import EnsembleMember, Predictor
from volseg.model.engines.interface import NumpyArrays, WeightedLogits
from volseg.training.train import train

pytestmark = pytest.mark.slow

PREDICT = """
import sys
if __name__ == "__main__":
    from volseg import cli
    code = cli.run_command(sys.argv[1:])
    from volseg.system.hardware import peak_memory
    print("peak", peak_memory(), "code", code)
"""


class Counted:
    """Counts the windows that it sees."""

    arrays = NumpyArrays()

    def __init__(self) -> None:
        self.windows = 0

    def parts(self, windows: Iterator) -> Iterator:
        for image, _ in windows:
            self.windows += 1
            yield WeightedLogits(image, 0.0)


def predictor(*, classes: int = 3, spacing=None, exclusive: bool = False, body_box: bool = True) -> Predictor:
    data = Data(spacing_mm=spacing)
    member = EnsembleMember(Counted(), data, Inference(body_box=body_box), (96, 96, 96))
    return Predictor((member,), tuple("abcdefgh"[:classes]), (), exclusive)


def scan(*shape: int) -> list[Volume]:
    return [Volume(np.zeros(shape, np.uint16), np.diag([-1.5, -1.5, -3.0, 1.0]))]


def budget(limit: int, told: bool = True, **how) -> MemoryBudget:
    return MemoryBudget(predictor(**how), loaded=200_000_000, limit=limit, set_by_user=told)


def test_the_forecast_grows_with_the_scan_the_classes_and_what_is_beside() -> None:
    peak = budget(0).peak_bytes(scan(200, 200, 100), beside=False)

    assert budget(0).peak_bytes(scan(300, 300, 100), beside=False) > peak
    assert budget(0).peak_bytes(scan(200, 200, 100), beside=True) > peak
    assert budget(0, body_box=False).peak_bytes(scan(200, 200, 100), beside=False) > peak
    assert budget(0, classes=6).peak_bytes(scan(300, 300, 100), beside=True) > budget(0).peak_bytes(
        scan(300, 300, 100), beside=True
    )
    assert budget(0, exclusive=True).peak_bytes(scan(200, 200, 100), beside=True) > budget(0).peak_bytes(
        scan(200, 200, 100), beside=True
    )


def test_what_does_not_fit_is_refused_with_both_amounts(caplog) -> None:
    image = scan(200, 200, 100)
    alone = budget(0).peak_bytes(image, beside=False)

    with pytest.raises(UserError, match=r"200x200x100 voxels take about .* --max-memory allows 300 MB"):
        budget(300_000_000).check_scan(image)
    with caplog.at_level(logging.INFO):
        budget(alone).check_scan(image)
    assert "200x200x100 voxels take about" in caplog.text


def test_without_a_limit_nothing_is_refused() -> None:
    budget(1, told=False).check_scan(scan(200, 200, 100))


def test_scans_are_beside_each_other_only_where_there_is_room() -> None:
    image = scan(200, 200, 100)
    together = budget(0).peak_bytes(image, beside=True)

    assert budget(together).has_room_beside(image)
    assert not budget(together - 1).has_room_beside(image)


def test_within_a_limit_the_networks_are_tried_first() -> None:
    tried = predictor()
    warm_up_networks(tried.members, 1)

    assert tried.members[0].network.windows == 4


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_the_memory_that_is_allowed_is_kept(tmp_path: Path, engine: str) -> None:
    """A volume of 26 million voxels, whose float map of both classes alone would be 208 MB."""
    tiny.write(tmp_path / "data", cases=2, days=1)
    config = tiny.config(data={"split": "none"}, inference={"window": [64, 64, 64]})
    train(config, TrainArguments(data=tmp_path / "data", run=tmp_path / "run", fold="all"))
    image = np.full((320, 320, 256), 500, np.uint16)
    image[90:170, 90:170, 60:100], image[170:250, 90:170, 60:100] = 900, 150
    write_volume(Volume(image, tiny.AFFINE), tmp_path / "large.nii.gz")
    (tmp_path / "predict.py").write_text(PREDICT)
    limit = 500 if engine == "openvino" else 800

    def predict(*options: str) -> tuple[int, str]:
        names = ["--run", str(tmp_path / "run"), "--input", str(tmp_path / "large.nii.gz")]
        command = [sys.executable, str(tmp_path / "predict.py"), "infer", *names, *options]
        command += ["--engine", engine, "--overlap", "0"]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        told = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        return int(told.stdout.split("peak ")[1].split()[0]), told.stdout + told.stderr

    peak, said = predict("--max-memory", f"{limit}MB", "--out", str(tmp_path / "kept"))

    assert "code 0" in said, said
    assert "320x320x256 voxels take about" in said
    assert peak <= limit * 10**6, f"{peak / 1e6:.0f} MB"
    _, refused = predict("--max-memory", "200MB", "--out", str(tmp_path / "small"))
    assert "--max-memory allows 200 MB" in refused
