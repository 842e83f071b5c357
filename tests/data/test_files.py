"""Folders and tars as sources of files, and what hostile ones say."""

import gzip
import io
import lzma
import tarfile
import zlib

import pytest

from dna_asic.data import files
from dna_asic.data.files import Source
from dna_asic.errors import DataError

CONTENTS = {"set/a/0.png": b"zero", "set/a/1.png": b"", "set/b/0.png": bytes(100_000)}


def write_tar(path, contents=CONTENTS, mode="w", **fields):
    """`fields` of every member, true or not."""
    with tarfile.open(path, mode) as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.fileobj.write(member.tobuf() + content + bytes(-len(content) % tarfile.BLOCKSIZE))
    return path


@pytest.fixture(params=["folder", "w", "w:gz", "w:xz"])
def path(request, tmp_path):
    if request.param != "folder":
        return write_tar(tmp_path / "a.tar", CONTENTS | {"./set/.hidden": b"x"}, request.param)
    for name, content in CONTENTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "set/.hidden").touch()
    return tmp_path


def test_source_names_and_contents(path):
    source = Source.open(path)
    assert source.top == "set/" and [x for x in source.names if x[-1] != "/"] == ["a/0.png", "a/1.png", "b/0.png"]
    read = {i: entry.read() for i, entry in source.pick(["b/0.png", "a/1.png", "a/0.png"])}
    assert read == {0: bytes(100_000), 1: b"", 2: b"zero"}


def test_source_passes_over_what_is_not_picked(path):
    assert [(i, e.read()) for i, e in Source.open(path).pick(["a/0.png"])] == [(0, b"zero")]


def test_source_of_concatenated_xz_streams(tmp_path):
    data = write_tar(tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(data[:700]) + lzma.compress(data[700:]))
    assert len(Source.open(tmp_path / "a.tar.xz").names) == 3


def test_source_reads_long_names(tmp_path):
    name = "/".join(["set"] + ["n" * 90] * 4)
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        assert Source.open(tmp_path / "a.tar").names == (name.removeprefix("set/"),)


def test_source_wrong_file_that_is_gone(path):
    with pytest.raises(DataError, match="must not change while it is read: 'set/c' is gone"):
        list(Source.open(path).pick(["a/0.png", "c"]))


@pytest.mark.parametrize("fields,message", [
    ({"name": "/etc/passwd"}, "'/etc/passwd' must lie below the archive's top"),
    ({"name": "a/../../b"}, r"'a/\.\./\.\./b' must lie below"),
    ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "must be a file or a folder, not a link"),
    ({"type": tarfile.LNKTYPE, "linkname": "b"}, "must be a file or a folder, not a link"),
    ({"type": tarfile.CHRTYPE}, "must be a file or a folder"),
    ({"size": 1 << 40}, "must have at most 268435456 bytes, not 1099511627776"),
    ({"size": 50000}, "cannot be read as a tar.*unexpected end of data"),
])
def test_source_wrong_member(tmp_path, fields, message):
    path = write_tar(tmp_path / "a.tar", {"a/0.png": b"zero"}, **fields)
    with pytest.raises(DataError, match=message):
        for _, entry in (source := Source.open(path)).pick(source.names):
            entry.read()


def test_source_wrong_number_of_files(path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILES", 2)
    with pytest.raises(DataError, match="at most 2 files and folders"):
        Source.open(path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_source_wrong_header_that_unpacks_to_much(tmp_path, kind):
    header = tarfile.TarInfo("a")
    header.type, header.size = kind, 64 << 20
    with gzip.open(tmp_path / "a.tar.gz", "wb") as packed:
        packed.write(header.tobuf(tarfile.GNU_FORMAT))
        packed.write(bytes(header.size + 1024))
    with pytest.raises(DataError, match="a header is longer than 1048576 bytes"):
        Source.open(tmp_path / "a.tar.gz")


def test_source_wrong_chain_of_headers(tmp_path):
    header = tarfile.TarInfo("a")
    header.type = tarfile.XHDTYPE
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) * 5000)
    with pytest.raises(DataError, match="cannot be read as a tar"):
        Source.open(tmp_path / "a.tar")


def test_source_wrong_xz_that_needs_much_memory(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 4096}]
    data = bytearray(lzma.compress(bytes(2000), filters=filters))
    assert data[12:17] == bytes([2, 0, 0x21, 1, 0])  # the header of the block; its last byte is the dictionary's size
    data[16] = 40  # 4 GiB
    data[20:24] = zlib.crc32(data[12:20]).to_bytes(4, "little")
    (tmp_path / "a.tar.xz").write_bytes(data)
    with pytest.raises(DataError, match="Memory usage limit exceeded"):
        Source.open(tmp_path / "a.tar.xz")


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100, b"\x1f\x8brubbish", b"\xfd7zXZ\0rubbish"])
def test_source_wrong_content(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match="a.tar' cannot be read as a tar"):
        Source.open(tmp_path / "a.tar")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_source_wrong_truncated(tmp_path, mode):
    path = write_tar(tmp_path / "a.tar", {"a": bytes(range(256)) * 400, "b": b"x"}, mode)
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2 - 100])
    with pytest.raises(DataError, match="a.tar' cannot be read as a tar"):
        Source.open(path)


def test_source_wrong_path(tmp_path):
    with pytest.raises(DataError, match="is not a readable folder or tar"):
        Source.open(tmp_path / "nowhere")
