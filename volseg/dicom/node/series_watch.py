"""Series that are complete become jobs; the same images, contoured in the same way, only once."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from volseg.dicom.node.job import Job
from volseg.dicom.node.job_queue import JobQueue
from volseg.dicom.node.series_rules import SeriesFacts, fitting_rules, may_grow_to_fit, read_facts
from volseg.dicom.node.series_store import SeriesStore
from volseg.dicom.node.settings import NodeSettings, Rule
from volseg.errors import UserError
from volseg.formatting import join_names

log = logging.getLogger(__name__)


class SeriesWatch:
    """Looks at series that have been quiet, and makes a job for each rule that one fits."""

    def __init__(self, settings: NodeSettings, store: SeriesStore, queue: JobQueue) -> None:
        self.settings = settings
        self.store = store
        self.queue = queue

    def decide_quiet_series(self, quiet_seconds: float) -> None:
        """Decide on each series that has been quiet for so long."""
        for series, last in self.store.quiet_series(quiet_seconds).items():
            images = self.store.images(series)
            try:
                facts = read_facts(images)  # an image may just be replaced
                rules = fitting_rules(self.settings, facts)
                for rule in rules:
                    self._queue_job(rule, facts, images)
            except (UserError, OSError) as error:  # a run that is gone, or a full disk: it may come right
                reason = error if isinstance(error, UserError) else error.strerror
                log.warning("a series waits for another quiet time: %s", reason)
                self.store.postpone(series)
                continue
            if not rules:
                log.info("ignored, as it fits no rule: a series (%s)", facts)
            keep = bool(rules) or may_grow_to_fit(self.settings, facts)
            self.store.mark_decided(series, last, keep=keep)

    def _queue_job(self, rule: Rule, facts: SeriesFacts, images: Sequence[Path]) -> None:
        job_id = self.store.spool.hide(
            *(image.name for image in images), rule.name, contouring_identity(rule)
        )
        if self.queue.is_known(job_id):
            dead = " and failed: see the dead letters" if (self.queue.spool.dead / job_id).exists() else ""
            log.info("job %s: sent again, nothing new: it is known%s", job_id, dead)
            return
        job = Job(id=job_id, rule=rule.name, slices=facts.slices, created=time.time())
        self.queue.create(job, images)
        log.info("job %s: a series (%s) to be contoured by the rule %s", job_id, facts, rule.name)


def contouring_identity(rule: Rule) -> str:
    """What the contours of a rule depend on besides the images: weights, gate, settings and options.

    Raises:
        UserError: a run that is not there, or can't be used with the others.
    """
    from volseg.inference.opening import open_gated

    try:
        ensemble = open_gated(rule.runs, rule.options.gate)
    except UserError as error:
        raise UserError(f"rule {rule.name}: {join_names(rule.runs)}: {error}") from error
    gate = ensemble.gate.ensemble.weights_digest if ensemble.gate else ""
    configs = [run.config.model_dump_json() for run in ensemble.runs]
    return "\n".join(
        (ensemble.weights_digest, str(ensemble.shares), gate, *configs, rule.options.model_dump_json())
    )
