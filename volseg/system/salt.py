"""Names that tell nothing of what they stand for: salted hashes, with a salt that each user has once."""

import hashlib
import logging
import os
import secrets
import tempfile
from functools import cache
from pathlib import Path

from volseg.errors import UserError

FILE = "salt"
SALT_BYTES = 32
DIGITS = 10  # of a hash in a name: two of 10,000 names are equal once in 20,000 times

log = logging.getLogger(__name__)


def salted_name(prefix: str, *texts: str, salt: bytes) -> str:
    """`prefix_` and a hash of the texts: the same for the same texts and salt, and no way back."""
    joined = b"".join(
        len(text.encode(errors="replace")).to_bytes(8, "big") + text.encode(errors="replace")
        for text in texts
    )
    return f"{prefix}_{hashlib.blake2b(joined, key=salt, digest_size=32).hexdigest()[:DIGITS]}"


@cache
def user_salt() -> bytes:
    """This user's salt, below `$XDG_DATA_HOME`, else `~/.local/share`; made at the first time.

    Where that folder can't be written it is another one for each process, with a warning.
    """
    home = Path(os.environ.get("XDG_DATA_HOME", ""))
    try:
        return folder_salt((home if home.is_absolute() else Path.home() / ".local/share") / "volseg")
    except (OSError, RuntimeError):
        log.warning(
            "no folder for this user's salt can be written, so DICOM scans get other names each time; "
            "set XDG_DATA_HOME to a folder that can be written"
        )
        return secrets.token_bytes(SALT_BYTES)


def folder_salt(folder: Path) -> bytes:
    """The salt that is kept in a folder, a file that only its user can read; made at the first time.

    Raises:
        UserError: a damaged salt.
        OSError: the folder can't be written.
    """
    path = folder / FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, made = tempfile.mkstemp(dir=folder)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SALT_BYTES))
            _link_unless_there(Path(made), path)
        finally:
            Path(made).unlink(missing_ok=True)
    salt = path.read_bytes()
    if len(salt) != SALT_BYTES:
        raise UserError(f"{path}: is no salt of {SALT_BYTES} bytes; remove it, and scans get new names")
    return salt


def _link_unless_there(made: Path, path: Path) -> None:
    """Give a file its name, unless another process was first."""
    try:
        path.hardlink_to(made)
    except FileExistsError:
        pass
    except OSError:  # a drive without links
        made.replace(path)
