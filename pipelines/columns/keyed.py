"""Keyed hashes as columns: HMAC-SHA256 over a one-row table of pads, so that no plan, log or setting shows the key.

The message of a hash is made of parts with their lengths, so that missing parts or separators inside a value cannot give
two different lists the same message.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

ROW_KEY_HEX_DIGITS = 32
ID_HEX_DIGITS = 13
"""52 bits: OMOP ids stay below 2^53, beyond which R and JavaScript lose precision."""


@dataclass(frozen=True, repr=False)
class Pads:
    """The two HMAC pads of each purpose's key, by purpose."""

    by_purpose: Mapping[str, tuple[bytes, bytes]]

    def frame(self, session: SparkSession) -> DataFrame:
        """One row: `_ipad_<purpose>` and `_opad_<purpose>` for each purpose."""
        names = [f"_{side}_{purpose} binary" for purpose in self.by_purpose for side in ("ipad", "opad")]
        values = [bytearray(pad) for pads in self.by_purpose.values() for pad in pads]
        return session.createDataFrame([tuple(values)], ", ".join(names))

    def joined_to(self, frame: DataFrame) -> DataFrame:
        """`frame` with the pad columns added to each row. The caller selects its own columns once the hashes are computed."""
        return frame.crossJoin(F.broadcast(self.frame(frame.sparkSession)))


def hmac_hex(message: Column, purpose: str) -> Column:
    """HMAC-SHA256 of a text in hexadecimal; the row has the pad columns of `purpose` (see `Pads.joined_to`)."""
    inner = F.sha2(F.concat(F.col(f"_ipad_{purpose}"), message.cast("binary")), 256)
    return F.sha2(F.concat(F.col(f"_opad_{purpose}"), F.unhex(inner)), 256)


def message_of(parts: Iterable[Column]) -> Column:
    """The parts with their lengths as one text; a missing part differs from an empty one."""
    return F.concat(*[_part(part) for part in parts])


def message_of_known(parts: Iterable[Column], may_be_missing: Collection[int] = ()) -> Column:
    """The text that `message_of` gives; null where a part is missing, unless its place is among `may_be_missing`.

    It is half as long to plan and to compute.
    """
    return F.concat(*[_part(part) if place in may_be_missing else _known_part(part) for place, part in enumerate(parts)])


def _part(part: Column) -> Column:
    return F.when(part.isNull(), F.lit("-:")).otherwise(_known_part(part))


def _known_part(part: Column) -> Column:
    return F.concat(F.length(part).cast("string"), F.lit(":"), part)


def row_key(message: Column) -> Column:
    """The keyed name of a record: 128 bits in hexadecimal, the same wherever the record is referred to.

    `message` comes from `message_of`: source, entity, provider and the values of the key.
    """
    return F.substring(hmac_hex(message, "row"), 1, ROW_KEY_HEX_DIGITS)


def id_of(hex_digest: Column) -> Column:
    """A positive whole number below 2^52 from the first digits of a hexadecimal hash."""
    return F.conv(F.substring(hex_digest, 1, ID_HEX_DIGITS), 16, 10).cast("bigint")
