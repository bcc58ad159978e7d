"""What is kept of something as one JSON file in a folder, such as a run's."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationError

from volseg.errors import UserError
from volseg.schema import Section, explain_errors
from volseg.system.files import write_text


class JsonFile(Section):
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
            raise UserError.from_problems(
                f"{path}: {line}{again}" for line in explain_errors(error, cls)
            ) from error

    def write(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        write_text(folder / self.file, self.model_dump_json(indent=1) + "\n")
