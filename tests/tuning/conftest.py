"""A run of enough validation cases to tune on, trained once for all tests here."""

from pathlib import Path

import pytest

from tests import tiny
from volseg.arguments import TrainArguments
from volseg.training.train import train


@pytest.fixture(scope="package")
def data(tmp_path_factory) -> Path:
    """Eight of forty cases are validated on: as many as an interval needs."""
    return tiny.write(tmp_path_factory.mktemp("data"), cases=40, days=1).folder


@pytest.fixture(scope="package")
def trained(data: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    settings = tiny.config(train={"steps": 60, "epoch_steps": 60})
    return train(settings, TrainArguments(data=data, run=folder)).run
