"""A job: a series that a rule has contoured by runs, and the results on their way to destinations."""

from typing import ClassVar, Literal

from volseg.schema import Section
from volseg.system.json_files import JsonFile

State = Literal["waiting", "running", "sending", "done", "failed"]


class Delivery(Section):
    """A result that goes to a destination; `file` lies below the job's folder. Times: seconds since 1970."""

    file: str
    kind: str
    destination: str
    delivered: bool = False
    attempts: int = 0
    next_try: float = 0
    problem: str = ""


class Job(JsonFile):
    """The state of a job, in `job.json` of its folder; it tells nothing of the patient.

    `id` is a salted hash of the images' UIDs and content, the runs' weights and the options: the same series
    contoured in the same way is the same job. `attempts` counts the processes that were killed,
    `interruptions` how often the node ended in the midst.
    """

    file: ClassVar[str] = "job.json"
    id: str
    rule: str
    slices: int
    created: float
    state: State = "waiting"
    attempts: int = 0
    interruptions: int = 0
    next_try: float = 0
    sending_since: float = 0
    deliveries: tuple[Delivery, ...] = ()
    reason: str = ""
    ended: float = 0

    @property
    def open_deliveries(self) -> tuple[Delivery, ...]:
        """Those that have not arrived."""
        return tuple(one for one in self.deliveries if not one.delivered)

    def with_delivery(self, changed: Delivery) -> "Job":
        """The job with a delivery in place of that of the same file and destination."""
        key = (changed.file, changed.destination)
        return self.model_copy(
            update={
                "deliveries": tuple(
                    changed if (one.file, one.destination) == key else one for one in self.deliveries
                )
            }
        )
