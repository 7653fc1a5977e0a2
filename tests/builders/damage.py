"""Files as they arrive when something went wrong on the way: whole ones, damaged a little."""

import gzip
import io
import zipfile
from random import Random

MISPLACED = (b'"', b'""', b",", b"\n", b"\r", b"\x00", b"\x1a", b"\xeb", b"\x81", b'5" ', b'"\n"', b"\xef\xbb\xbf", b" ")
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be")


def zipped(name: str, content: bytes) -> bytes:
    """A zip of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def damaged(text: str, random: Random) -> bytes:
    """The text in some encoding, with one to three faults: bytes changed, cut or put in, lines doubled, headers renamed."""
    content = bytearray(text.replace("\n", random.choice(("\n", "\r\n", "\r"))).encode(random.choice(ENCODINGS)))
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(content)) if content else 0
        match random.randrange(7):
            case 0:
                content[place : place + 1] = bytes([random.randrange(256)])
            case 1:
                del content[place:]
            case 2:
                del content[place : place + random.randrange(1, 60)]
            case 3:
                content[place:place] = random.choice(MISPLACED)
            case 4:
                line = content.rfind(b"\n", 0, place) + 1
                content[line:line] = content[line : content.find(b"\n", line) + 1 or len(content)]
            case 5:
                content[: content.find(b"\n")] = content[: content.find(b"\n")].replace(b"_", b"", 1).replace(b"b", b"x", 1)
            case _:
                content += random.choice((b"\x1a", b"\x00", b"\n\n\n", b"9 rows selected\n", b'"'))
    return bytes(content)


def damaged_file(text: str, random: Random) -> tuple[str, bytes]:
    """The ending of a file name and the content: damaged text, packed or not, the archive damaged too now and then."""
    content = damaged(text, random)
    ending = random.choice((".csv", ".csv", ".csv.gz", ".zip"))
    if ending == ".csv":
        return ending, content
    packed = bytearray(gzip.compress(content, mtime=0) if ending == ".csv.gz" else zipped("x.csv", content))
    if random.randrange(2):
        packed[random.randrange(len(packed))] ^= 1 << random.randrange(8)
    return ending, bytes(packed)
