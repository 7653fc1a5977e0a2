"""Who may read what a run writes, on file systems that keep the rights of POSIX.

What is below the restricted root is for the account that runs the load and for nobody else. Who may enter the folder of the
de-identified root may read what is in it: an administrator grants access by the rights of that one folder.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import RightsError
from pipelines.storage.files import AnyPath, is_inside

OTHERS = 0o077
"""The rights of everybody but the owner."""

_READ, _READ_AND_ENTER = 0o044, 0o055


@contextmanager
def private_files() -> Iterator[None]:
    """Whatever is made within the block is for its owner only, engine included: the umask belongs to the process."""
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def make_private(root: Path) -> None:
    """Make a folder for its owner only, or see that it is. Raises RightsError as `require_private` does."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise RightsError(f"{root}: {error.strerror}; it must belong to the account that runs the load") from error
    require_private(root)


def require_private(root: Path) -> None:
    """See that a folder is for the account only.

    Raises RightsError, with the next step, where it belongs to another account, which root may enter all the same, or where
    others have rights on it: what it holds may have been read.
    """
    try:
        found = root.stat()
        rights = found.st_mode & OTHERS
        is_own = found.st_uid == os.geteuid()
        keeps_rights = (bool(rights) or not is_own) and _keeps_rights(root)
    except OSError as error:
        raise RightsError(f"{root}: {error.strerror}; it must belong to the account that runs the load") from error
    if not is_own and (keeps_rights or not _is_usable(root)):
        raise RightsError(f"{root} belongs to another account; run this command as the account that runs the load")
    require_usable(root)
    if rights and keeps_rights:
        raise RightsError(
            f"{root} holds identity and other users have rights on it ({rights:03o}); nothing was done. "
            f"Find out who has read it, then: chmod -R go= {root}"
        )


def require_usable(root: Path) -> None:
    """Raises RightsError for a folder that the account may not read or write, as one that is mounted to be read only."""
    if not _is_usable(root):
        raise RightsError(f"{root} cannot be written to: mount it for writing, or chmod u+rwx {root}")


def _is_usable(root: Path) -> bool:
    return os.access(root, os.R_OK | os.W_OK | os.X_OK)


def may_read(root: Path) -> bool:
    """Whether the account may read and enter a folder."""
    return os.access(root, os.R_OK | os.X_OK)


def require_readable(root: Path) -> None:
    """Raises RightsError, with the next step, for a folder that is there and that the account may not read."""
    if not may_read(root) and _is_there(root):
        raise RightsError(
            f"{root} cannot be read by this account; ask for the rights, or run this command as the account that runs the load"
        )


def _is_there(folder: Path) -> bool:
    """Whether there is something, or may be: below a folder that may not be entered nobody can tell."""
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def others_may_read(folder: Path, private: Path) -> bool:
    """Whether somebody who is neither the owner nor in the group of a folder may read in it or write to it.

    `private` is a folder of the same storage that `make_private` has taken: if it has no rights for others, rights are kept.
    """
    return _others_may(0o007, folder, private)


def others_may_write(folder: Path, private: Path) -> bool:
    """As `others_may_read`, for writing alone: such a user may put other tables in place of those that analysts read."""
    return _others_may(0o002, folder, private)


def _others_may(rights: int, folder: Path, private: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & rights) and not private.stat().st_mode & OTHERS
    except OSError:
        return False


def _keeps_rights(folder: Path) -> bool:
    """Whether the file system keeps rights: on a mounted volume the platform decides, and shows a fixed mode or owner."""
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as made:
            found = Path(made).stat()
            return not found.st_mode & OTHERS and found.st_uid == os.geteuid()
    except PermissionError:
        return True  # whoever is refused here is refused by rights


def share(root: AnyPath, private: Path) -> None:
    """Give whoever may enter a folder the right to read everything below it, and take the right from everybody else.

    Only what belongs to the account is changed, and nothing where the file system keeps no rights. A store has its own grants.
    No link is followed. Raises RightsError where `private`, the restricted root, has come to lie in it or around it.
    """
    if not isinstance(root, Path):
        return
    if is_inside(private, root) or is_inside(root, private):
        raise RightsError(f"{private} holds identity and leads into or around {root}, which others may read; move one of them")
    granted = root.stat().st_mode & _READ_AND_ENTER
    if not _keeps_rights(root):
        return
    for folder, _, files in os.walk(root):
        _grant(Path(folder), granted)
        for name in files:
            _grant(Path(folder, name), granted & _READ)


def _grant(path: Path, granted: int) -> None:
    found = path.lstat()
    wanted = stat.S_IMODE(found.st_mode) & ~_READ_AND_ENTER | granted
    if stat.S_IMODE(found.st_mode) != wanted and found.st_uid == os.geteuid() and not path.is_symlink():
        path.chmod(wanted)
