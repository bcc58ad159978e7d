"""The options of the commands: filled by the command line, read by the command's function."""

from volseg.arguments.auto import AutoArguments
from volseg.arguments.cohort import CohortArguments
from volseg.arguments.contours import ContoursArguments
from volseg.arguments.infer import SPLITS, ExportArguments, InferArguments
from volseg.arguments.masks import CompareArguments, MaskOptions
from volseg.arguments.node import NodeArguments
from volseg.arguments.prepare import PrepareArguments
from volseg.arguments.train import NetworkName, PlanArguments, TrainArguments
from volseg.arguments.values import (
    DATA,
    MAX_MEMORY,
    MAX_TIME,
    PREDICTIONS,
    RUNS,
    DeviceName,
    Fold,
    Shard,
    parse_device,
    parse_duration,
    parse_memory,
    parse_shard,
    run_folder,
)
from volseg.arguments.view import LONGEST_REVIEWER, ViewArguments

__all__ = [
    "DATA", "LONGEST_REVIEWER", "MAX_MEMORY", "MAX_TIME", "PREDICTIONS", "RUNS", "SPLITS",
    "AutoArguments", "CohortArguments", "CompareArguments", "ContoursArguments", "DeviceName",
    "ExportArguments", "Fold", "InferArguments", "MaskOptions", "NetworkName", "NodeArguments",
    "PlanArguments", "PrepareArguments", "Shard", "TrainArguments", "ViewArguments", "parse_device",
    "parse_duration", "parse_memory", "parse_shard", "run_folder",
]  # fmt: skip
