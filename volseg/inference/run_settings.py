"""The settings that a run predicts by: its own, those of the options, and what masks depend on."""

from volseg import __version__
from volseg.arguments import InferArguments
from volseg.errors import UserError
from volseg.runs.plugin_records import used_plugins
from volseg.runs.run import Run

FAST_OVERLAP = 0.25


def configure_run(run: Run, options: InferArguments) -> Run:
    """A run whose config has the options in place of its own settings of inference."""
    changes: dict[str, object] = {"overlap": FAST_OVERLAP, "flips": ()} if options.fast else {}
    if options.overlap is not None:
        changes["overlap"] = options.overlap
    if options.tta == "flips":
        changes["flips"] = run.config.augment.flip
        if not run.config.augment.flip:
            raise UserError(
                f"--tta flips: {run.folder} was trained without flips (augment.flip is empty), so "
                "mirrored scans are strange to it; leave --tta out"
            )
    if not options.body_box:
        changes["body_box"] = False
    return with_inference(run, **changes)


def with_inference(run: Run, **changes: object) -> Run:
    """A run with some settings of inference in place of its own."""
    inference = run.config.inference.model_copy(update=changes)
    return run.with_config(run.config.model_copy(update={"inference": inference}))


def mask_settings(run: Run, kind: str) -> list[object]:
    """JSON values of what a run's masks depend on beside the image; `kind` is the engine's arithmetic."""
    sections = {"data", "network", "inference", "postprocess"}
    config = run.config.model_dump(mode="json", include=sections)
    classes = [run.facts.classes, run.facts.exclusive]
    for name in ("batch", "gate"):  # masks don't depend on the one; the other is told where it is used
        config["inference"].pop(name)
    plugins = [record.model_dump() for record in used_plugins(run.config)]
    others = [plugins] if plugins else []
    return [run.network_identity, classes, run.config.window, kind, config, __version__, *others]
