"""Files that appear whole or not at all, and what to say when they can't.

A file is written under a temporary name in its own folder, synced, and renamed into place: a
reader sees the old file or the new one, and after a power cut there is one of the two. A process
that is killed leaves at most its temporary file, whose name starts with a dot and ends in
``.part``.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from hpczmq.errors import OutputError

_REMEDIES: Final = {
    errno.ENOSPC: "free some space there, or choose another folder",
    errno.EDQUOT: "free some of your quota, or choose another folder",
    errno.EFBIG: "raise the limit (ulimit -f), or make the image smaller",
    errno.ENOTDIR: "a file stands where a folder is needed; move it, or choose another folder",
    errno.EEXIST: "a file stands where a folder is needed; move it, or choose another folder",
    errno.EISDIR: "a folder stands where a file is needed; move it, or choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "its folder is gone; make it again",
    errno.ELOOP: "a link stands where we write; remove it, or choose another folder or name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


#: Temporary files of this process that may exist now.
_living: set[Path] = set()


def output_error(path: Path, error: OSError) -> OutputError:
    """What went wrong with a file that we write, for people: path, cause, remedy."""
    # numpy says "… requested and … written" without a number when the disk is full.
    number = error.errno or errno.ENOSPC
    remedy = _REMEDIES.get(number, "choose a folder that you may write")
    return OutputError(f"{path}: {error.strerror or error}: {remedy}")


def temporary(path: Path) -> Path:
    """A name beside `path` that no other file has, for its content while it is being written."""
    # Cut: the name alone may have as many bytes as the file system allows.
    stem = path.name.encode()[:100].decode(errors="ignore")
    written = path.with_name(f".{stem}.{secrets.token_hex(6)}.part")
    _living.add(written)
    return written


def discard(written: Path) -> None:
    """Take a temporary file away, if it is there."""
    written.unlink(missing_ok=True)
    _living.discard(written)


def discard_all() -> None:
    """Take every temporary file of this process away; for an end that can't wait."""
    for written in list(_living):
        with suppress(OSError):
            discard(written)


def settle(written: Path, path: Path) -> None:
    """Rename a synced temporary file into place, and make the name as safe as the content.

    Raises:
        OSError: it can't be renamed.
    """
    os.replace(written, path)
    _living.discard(written)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        # Some network file systems can't sync a folder; they keep their own order of things.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(folder)


def probe(path: Path) -> None:
    """Find out before the work whether a file can be put there after it.

    Raises:
        OutputError: it can't.
    """
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(path.stat().st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        written = temporary(path)
        written.touch(exist_ok=False)
        discard(written)
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `path` when the block ends, and vanishes if it raises.

    Raises:
        OutputError: it can't be written.
    """
    written = temporary(path)
    try:
        with open(written, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        settle(written, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):  # it is gone if all went well, or was never there
            discard(written)
