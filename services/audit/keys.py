"""The log's key pair on disk: made once, never replaced by itself."""

from __future__ import annotations

import random
from pathlib import Path

from services.audit.tlog.note import NoteInvalid, Signer, parse_signer
from shared.files import Files

PRIVATE = "log.key"
PUBLIC = "log.pub"
_PRIVATE_MODE = 0o600
_FOLDER_MODE = 0o700


class KeyInvalid(Exception):
    """The key cannot be used; the message names the file and quotes nothing of it."""


def load_key(files: Files, path: Path, origin: str) -> Signer:
    """The private key in a file, which must be named for the log. Blocks. Raises `KeyInvalid`."""
    try:
        signer = parse_signer(files.read(path).decode().removesuffix("\n"))
    except (NoteInvalid, UnicodeDecodeError) as error:
        reason = error if isinstance(error, NoteInvalid) else "not text"
        raise KeyInvalid(f"{path} holds no key of a log: {reason}") from None
    except OSError as error:
        raise KeyInvalid(f"{path} cannot be read: {error.strerror or error}") from None
    if signer.name != origin:
        raise KeyInvalid(f"{path} holds the key of {signer.name}, and this log is {origin}")
    return signer


def keep_key(files: Files, folder: Path, origin: str, chance: random.Random) -> Signer:
    """The key in `folder`, made where there is none: `log.key`, readable by its owner only, and beside it
    `log.pub`, the verifier key to hand out. Blocks. Raises `KeyInvalid`, also where only the public half
    is left: a new key would begin another log under the old name.
    """
    secret, public = folder / PRIVATE, folder / PUBLIC
    try:
        if not files.exists(secret):
            if files.exists(public):
                raise KeyInvalid(f"{public} is there and {secret} is not: restore it, or the log ends here")
            files.make_folder(folder, _FOLDER_MODE)
            made = Signer(origin, chance.randbytes(32))
            files.write_durably(secret, f"{made.secret_text()}\n".encode(), _PRIVATE_MODE)
        signer = load_key(files, secret, origin)
        text = f"{signer.verifier}\n".encode()
        if not files.exists(public) or files.read(public) != text:
            files.write_durably(public, text)
    except OSError as error:
        raise KeyInvalid(f"{folder} cannot hold the log's key: {error.strerror or error}") from None
    return signer
