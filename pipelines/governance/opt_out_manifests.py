"""Manifests for opt-out lists whose senders give none."""

from datetime import date

from pipelines.errors import OPT_OUT_ERRORS, DeliveryError
from pipelines.governance.opt_out_lists import FILES, KINDS, ListManifest, entries_in, file_of_list, read_file
from pipelines.ingest.making_manifests import Records, announced
from pipelines.storage.files import AnyPath


def list_manifest(folder: AnyPath, as_at: date) -> tuple[ListManifest, dict[str, Records]]:
    """The manifest of a list in a folder `optouts/<kind>/<day>`, and the entries of each file.

    Raises DeliveryError where the kind or a file is unknown, or a file cannot be read to its end.
    """
    kind = next((known for known in KINDS if known == folder.parent.name), None)
    if kind is None:
        raise DeliveryError(f"{folder.parent.name}: no kind of opt-out list; there are {', '.join(KINDS)}")
    where = f"optouts/{kind}/{folder.name}"

    def count(path: AnyPath) -> Records:
        name = file_of_list(path.name, kind)
        if name is None:
            raise DeliveryError(f"no file of the {kind} list; expected {', '.join(FILES[kind])}")
        try:
            return Records(entries_in(name, read_file(path), where))
        except OPT_OUT_ERRORS as error:
            raise DeliveryError(
                str(error).removeprefix(f"{where}/").removeprefix(f"{name}: ").removeprefix(f"{path.name}: ")
            ) from error

    files, counts = announced(folder, count)
    missing = {*FILES[kind]} - {file_of_list(name, kind) for name in counts}
    if missing:
        raise DeliveryError(f"{where}: files are missing: {', '.join(sorted(missing))}")
    written = {"kind": kind, "as_at": as_at, "files": [file.model_dump() for file in files]}
    return ListManifest.model_validate(written), counts
