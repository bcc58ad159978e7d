"""What is kept of something as one JSON file in a folder, such as a run's."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationError

from volseg.errors import UserError
from volseg.schema import Section, explain
from volseg.system.files import write_text


class Kept(Section):
    """Facts in a file of this name; `again` says after an error how to get another."""

    file: ClassVar[str]
    again: ClassVar[str] = ""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Those of a folder; None where it has none.

        Raises:
            UserError: a damaged file.
        """
        path = folder / cls.file
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            again = f"; {cls.again}" if cls.again else ""
            raise UserError.of(f"{path}: {line}{again}" for line in explain(error, cls)) from error

    def write(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        write_text(folder / self.file, self.model_dump_json(indent=1) + "\n")


class KeptOfNetworks(Kept):
    """Facts that hold for networks with these hashes of weights."""

    weights: tuple[str, ...]

    @classmethod
    def of_run(cls, folder: Path, weights: str) -> Self | None:
        """Those of a run with these weights, from its folder or that of the five folds it is one of."""
        for place in (folder, folder.parent):
            found = cls.read(place)
            if found and weights in found.weights:
                return found
        return None
