"""Files that were made to do harm: refused as `FileFormatError`, soon, in little memory, naming the file and the reason.

Every file is made here. Most are small and would cost gigabytes, hours or a program of the sender's choice.
"""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import tracemalloc
import zlib

import numpy as np
import pytest

from minicnn.data import image_dataset_from_directory
from minicnn.data.dataset import DatasetError
from minicnn.data.directory import picture_files
from minicnn.data.pictures import open_picture
from minicnn.preprocessing.image import load_img
from minicnn.untrusted import FileFormatError, printable, reading

MOST_BYTES = 200 * 2**20


@pytest.fixture
def refused():
    """A function: `act()` is refused with a short, printable message that matches, within 200 MB."""

    def check(act, *patterns):
        tracemalloc.start()
        try:
            with pytest.raises(FileFormatError) as caught:
                act()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        message = str(caught.value)
        for pattern in patterns:
            assert re.search(pattern, message), message
        assert peak < MOST_BYTES
        assert len(message) < 2500
        assert all(char.isprintable() or char == "\n" for char in message)
        assert caught.value.__suppress_context__  # a traceback does not print what was not cut

    return check


def test_messages_are_short_and_steer_no_terminal():
    assert printable("a\x1b[2J\u202e\nb") == "a\\x1b[2J\\u202e\nb"
    long = printable("start" + "x" * 10**6 + "end")
    assert len(long) < 2000
    assert long.startswith("start")
    assert long.endswith("end")
    with pytest.raises(FileFormatError, match=r"^m\.keras: OverflowError: too large$"), reading("m.keras"):
        raise OverflowError("too large")
    with pytest.raises(FileNotFoundError), reading("m.keras"):
        raise FileNotFoundError


# --- pictures ---------------------------------------------------------------------------------


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, rows=b"", after=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")


def whole_png():
    noise = np.random.default_rng(0).integers(0, 256, (20, 60), dtype=np.uint8)
    return png(20, 20, b"".join(b"\0" + row.tobytes() for row in noise))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A `gs` at the head of the path that leaves a mark when it is run; the mark."""
    from PIL import EpsImagePlugin

    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return tmp_path / "ran"


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for Ghostscript is a shell script")
def test_a_picture_starts_no_program(tmp_path, ghostscript, refused):
    folder = tmp_path / "data" / "cats"
    folder.mkdir(parents=True)
    (folder / "cat.png").write_bytes(EPS)
    refused(lambda: load_img(folder / "cat.png"), r"cat\.png cannot be read as a picture: it is none of PNG, JPEG")
    with pytest.raises(DatasetError, match=r"FileFormatError: .*cat\.png cannot be read as a picture"):
        list(image_dataset_from_directory(tmp_path / "data", verbose=False))
    assert not ghostscript.exists()


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "ICO", "TGA", "PCX", "ICNS"])
def test_other_formats_are_not_opened(tmp_path, kind, refused):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "x.png", kind)
    refused(lambda: open_picture(tmp_path / "x.png"), r"x\.png cannot be read as a picture: it is none of")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_the_usual_formats_are(tmp_path, kind):
    from PIL import Image

    Image.new("RGB", (6, 4), (255, 0, 0)).save(tmp_path / "x.png", kind)
    assert np.asarray(open_picture(tmp_path / "x.png")).shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(13_000, 13_000), r"13000 x 13000 pixels, more than 50,000,000"),
        (png(8_000, 7_000), r"8000 x 7000 pixels"),
        (png(2**31 - 1, 2**31 - 1), "cannot be read as a picture"),
        (png(0, 5), "cannot be read as a picture"),
        (whole_png()[:50], "cannot be read as a picture"),
        (whole_png()[:700], "cannot be read as a picture"),
        (png(5, 5, after=chunk(b"iCCP", b"x" * 10)), "cannot be read as a picture"),
        (b"", "cannot be read as a picture"),
        (b"GIF89a", "cannot be read as a picture"),
        (b"BM" + b"\xff" * 60, "cannot be read as a picture"),
    ],
    ids=range(10),
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_hostile_pictures(tmp_path, content, reason, refused):
    path = tmp_path / "cat\x1b[2J.png"
    path.write_bytes(content)
    refused(lambda: load_img(path), r"cat\\x1b\[2J\.png", reason)
    refused(lambda: load_img(io.BytesIO(content)), "the open file", reason)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_opened(tmp_path, refused):
    os.mkfifo(tmp_path / "pipe.png")
    refused(lambda: load_img(tmp_path / "pipe.png"), r"pipe\.png is not a regular file")
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    refused(lambda: load_img(tmp_path / "a.png"), r"a\.png cannot be read as a picture")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a permission there")
def test_folders_that_link_to_each_other_are_walked_once(tmp_path):
    """Two links in every folder of thirty: two to the power of thirty paths."""
    for level in range(30):
        (tmp_path / f"{level}").mkdir()
        (tmp_path / f"{level}" / "x.png").write_bytes(b"")
        for name in ("left", "right"):
            (tmp_path / f"{level}" / name).symlink_to(tmp_path / f"{(level + 1) % 30}")
    found = list(picture_files(str(tmp_path / "0"), follow_links=True))
    assert sorted(path.count("left") for path in found) == list(range(30))
    assert not any("right" in path for path in found)
