from __future__ import annotations

import base64
import struct

import pytest

from hybridinfer.tokens.media import (
    CLAUDE_IMAGE,
    FILE_TOKENS,
    PAGE_TOKENS,
    file_tokens,
    image_size,
    image_tokens,
)
from hybridinfer.types import File, Image


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def png(width: int, height: int) -> Image:
    return Image(
        data=b64(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"),
        media_type="image/png",
    )


JPEG = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc0\0\x11\x08" + struct.pack(">HH", 480, 640) + b"\x03" + b"\0" * 12
WEBP_X = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")
WEBP_L = b"RIFF\0\0\0\0WEBPVP8L\x0a\0\0\0\x2f" + (639 | 479 << 14).to_bytes(4, "little") + b"\0" * 8
WEBP = b"RIFF\0\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480)


@pytest.mark.parametrize(
    "raw",
    [base64.b64decode(png(640, 480).data or ""), b"GIF89a" + struct.pack("<HH", 640, 480), JPEG, WEBP_X, WEBP_L, WEBP],
    ids=["png", "gif", "jpeg", "webp-x", "webp-l", "webp"],
)
def test_size_is_read_from_the_header(raw: bytes) -> None:
    """PNG, GIF, JPEG and all three kinds of WebP tell their size."""
    assert image_size(Image(data=b64(raw))) == (640, 480)
    assert image_size(Image(url=f"data:image/x;base64,{b64(raw)}")) == (640, 480)


@pytest.mark.parametrize(
    "image",
    [
        Image(url="https://example.com/a.png"),
        Image(data=b64(b"BM" + b"\0" * 40)),
        Image(data="=a"),
        Image(data="é"),
        Image(data=b64(b"\xff\xd8\xff\xe0\0\x10")),
        Image(data=b64(b"RIFF\0\0\0\0WEBPVP9?" + b"\0" * 20)),
        Image(data=b64(b"\x89PNG\r\n\x1a\n")),
    ],
    ids=["url", "bmp", "padding", "not base64", "cut jpeg", "odd webp", "cut png"],
)
def test_an_unknown_size_is_none(image: Image) -> None:
    """What cannot be seen is not guessed."""
    assert image_size(image) is None


@pytest.mark.parametrize(
    ("model", "image", "expected"),
    [
        ("claude-haiku-5-5", png(750, 750), 751),
        ("claude-haiku-5-5", png(8_000, 8_000), CLAUDE_IMAGE),
        ("claude-haiku-5-5", Image(url="https://example.com/a.png"), CLAUDE_IMAGE),
        ("gpt-4o", png(1024, 1024), 85 + 170 * 4),  # the vendor's own example
        ("gpt-4o", png(2048, 4096), 85 + 170 * 6),  # the vendor's own example
        ("gpt-4o", png(100, 100), 85 + 170),
        ("gpt-4o", Image(url="https://example.com/a.png"), 85 + 170 * 8),
        ("gpt-4o", Image(url="https://example.com/a.png", detail="low"), 85),
        ("gpt-4o-mini", Image(url="https://example.com/a.png", detail="low"), 2_833),
        ("gpt-4.1-nano", png(1024, 1024), 2_520),  # 1,024 patches times 2.46
        ("gpt-6-luna", Image(url="https://example.com/a.png"), 6_150),
        ("gpt-6-luna", Image(url="https://example.com/a.png", detail="original"), 24_600),
    ],
)
def test_vendors_formulas(model: str, image: Image, expected: int) -> None:
    """Pictures cost what the vendor publishes, and the largest picture where the size is unknown."""
    assert image_tokens(image, model) == expected


def test_text_files_are_counted() -> None:
    """A text file costs its text."""
    assert file_tokens(File(data=b64(b"Hello, world!"), media_type="text/plain")) == 4


def test_a_pdf_costs_its_pages() -> None:
    """Each page is text and a picture."""
    pdf = b"%PDF-1.4 /Type /Pages /Type /Page /Type/Page "
    assert file_tokens(File(data=b64(pdf), media_type="application/pdf"), "claude-x") == 2 * (
        PAGE_TOKENS + CLAUDE_IMAGE
    )


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (File(data=b64(b"%PDF-1.7 compressed"), media_type="application/pdf"), 19),
        (File(data=b64(b"\0" * 500), media_type="application/zip"), 500),
        (File(data="=broken="), 8),
        (File(url="https://example.com/a.pdf"), FILE_TOKENS),
        (File(file_id="file-1"), FILE_TOKENS),
    ],
    ids=["pdf", "zip", "broken", "url", "id"],
)
def test_what_cannot_be_read_is_bounded(file: File, expected: int) -> None:
    """Bytes bound what is there; a whole window bounds what is not."""
    assert file_tokens(file) == expected
