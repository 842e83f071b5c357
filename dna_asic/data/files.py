"""Files of a dataset: those of a folder, or of a tar that is read as a stream and never unpacked to disk."""

import contextlib
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from dna_asic.errors import DataError

MAX_FILES = 1 << 21
MAX_FILE_BYTES = 1 << 28  # the largest official file of CIFAR has 155 MB
MAX_HEADER_BYTES = 1 << 20  # of one file in a tar; long names and the like
MAX_XZ_BYTES = 1 << 28  # that unpacking takes; `xz -9` needs 65 MiB
MAX_DEPTH = 8
_BLOCK = 1 << 16


class Entry(NamedTuple):
    """A file, or a folder, whose name ends in `/`; bytes; `read` gives the content while the walk stands here."""

    name: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Source:
    """Names below `path`, sorted, `/` between their parts, hidden ones left out. `top` is the one folder that holds
    all others ("name/"), else empty; `names` are those below it.
    """

    path: Path
    top: str
    names: tuple[str, ...]

    @classmethod
    def open(cls, path: str | Path) -> "Source":
        """List a folder, or a tar (plain, gzip or xz). Raises DataError where it is neither, is damaged, has too many
        or too large files, or holds links or names that lead out of it.
        """
        path = Path(path)
        names = sorted({entry.name for entry in _entries(path)}, key=lambda name: name.split("/"))
        tops = {name.partition("/")[0] for name in names}
        top = f"{tops.pop()}/" if len(tops) == 1 and "/" in names[0] else ""
        return cls(path, top, tuple(name[len(top):] for name in names if name != top))

    def pick(self, names: Sequence[str]) -> Iterator[tuple[int, Entry]]:
        """The files of distinct `names` with their places among them, in the order in which they are stored. Raises
        DataError for one that is gone.
        """
        places = {self.top + name: i for i, name in enumerate(names)}
        for entry in _entries(self.path):
            if entry.name in places:
                yield places.pop(entry.name), entry
            if not places:
                return
        raise DataError(f"Dataset '{self.path}' must not change while it is read: '{next(iter(places))}' is gone; "
                        f"start anew.")


def _entries(path: Path) -> Iterator[Entry]:
    """Files and folders that are not hidden."""
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"Dataset '{path}' is not a readable folder or tar; give a path that is.")
    for count, entry in enumerate(_folder(path, path, MAX_DEPTH) if path.is_dir() else _tar(path)):
        if count == MAX_FILES:
            raise DataError(f"Dataset '{path}' must hold at most {MAX_FILES} files and folders, not more; split it.")
        if not 0 <= entry.size <= MAX_FILE_BYTES:
            raise DataError(f"Dataset '{path}': '{entry.name}' must have at most {MAX_FILE_BYTES} bytes, not "
                            f"{entry.size}; remove it.")
        if not any(part.startswith(".") for part in entry.name.split("/")):
            yield entry


def _folder(root: Path, folder: Path, depth: int) -> Iterator[Entry]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"Folder '{folder}' cannot be read: {error.strerror}; check its permissions.") from error
    for path in paths:
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            yield Entry(f"{name}/", 0, bytes)
            if depth > 1 and not path.name.startswith("."):
                yield from _folder(root, path, depth - 1)
        elif path.is_file():
            yield Entry(name, path.stat().st_size, path.read_bytes)


def _tar(path: Path) -> Iterator[Entry]:
    with _sound(path), _unpacked(path) as unpacked:
        stream = _Forward(unpacked)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while member := archive.next():
                archive.members.clear()  # else every header seen stays in memory
                yield _member(path, archive, member)
                stream.allowance = MAX_HEADER_BYTES


def _member(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"Archive '{path}': '{member.name}' must lie below the archive's top; pack it anew.")
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise DataError(f"Archive '{path}': '{member.name}' must be a file or a folder, not a link, a device or a "
                        f"sparse file; pack it anew.")

    def read() -> bytes:
        with _sound(path):
            archive.fileobj.allowance = member.size
            return b"".join(iter(lambda: content.read(_BLOCK), b""))

    content = archive.extractfile(member)
    return Entry(f"{name}/", 0, bytes) if member.isdir() else Entry(str(name), member.size, read)


class _Forward:
    """What tarfile reads: forward only, and at most `allowance` bytes, since a header says itself how long it is."""

    def __init__(self, file: BinaryIO):
        self.file, self.position, self.allowance = file, 0, MAX_HEADER_BYTES

    def tell(self) -> int:
        """Bytes passed."""
        return self.position

    def read(self, count: int) -> bytes:
        """At most `count` bytes; raises ReadError beyond the allowance."""
        self.allowance -= count
        if self.allowance < 0:
            raise tarfile.ReadError(f"a header is longer than {MAX_HEADER_BYTES} bytes")
        data = self.file.read(count)
        self.position += len(data)
        return data

    def seek(self, position: int) -> None:
        """Pass over what lies before `position`, or before the end."""
        if position < self.position:
            raise tarfile.StreamError("a header leads back")
        while data := self.file.read(min(_BLOCK, position - self.position)):
            self.position += len(data)


class _Xz(io.RawIOBase):
    """What an .xz file unpacks to, in MAX_XZ_BYTES of memory (lzma.open sets no bound)."""

    def __init__(self, packed: BinaryIO):
        self.packed, self.decoder = packed, lzma.LZMADecompressor(memlimit=MAX_XZ_BYTES)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer) -> int:
        """Fill at least a part of `buffer`; 0 at the end."""
        data = b""
        while not data:
            packed = b""
            if self.decoder.eof:
                packed = self.decoder.unused_data or self.packed.read(_BLOCK)
                if not packed:
                    return 0
                self.decoder = lzma.LZMADecompressor(memlimit=MAX_XZ_BYTES)
            elif self.decoder.needs_input:
                packed = self.packed.read(_BLOCK)
                if not packed:
                    raise EOFError("it ends too soon")
            data = self.decoder.decompress(packed, len(buffer))
        buffer[:len(data)] = data
        return len(data)


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as packed:
        magic = packed.peek(6)
        if magic.startswith(b"\x1f\x8b"):
            yield gzip.GzipFile(fileobj=packed)
        else:
            yield io.BufferedReader(_Xz(packed)) if magic.startswith(b"\xfd7zXZ\0") else packed


@contextlib.contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Whatever a damaged archive raises becomes a DataError."""
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError, OverflowError,
            RecursionError) as error:
        raise DataError(f"Archive '{path}' cannot be read as a tar, plain or packed by gzip or xz: {error}; fetch it "
                        f"anew.") from error
