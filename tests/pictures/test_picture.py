"""A picture: what notebooks show, and what is saved."""

import re
from pathlib import Path

import pytest

from rxllm._pictures import Picture, drawing_picture

DRAWING = 'chunks  --"Hel"--"lo"--|\n        text_deltas()\ntexts   --"Hel"--"lo"--|'


def test_saved_svg_is_its_text(tmp_path: Path) -> None:
    """The file holds what ``str()`` gives, whatever characters there are."""
    picture = Picture("<svg>é 🌊</svg>", "a wave")
    picture.save(tmp_path / "a.svg")
    picture.save(str(tmp_path / "b.SVG"))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.SVG").read_bytes() == str(picture).encode()


def test_other_format_comes_from_what_makes_it(tmp_path: Path) -> None:
    """It is made when it is saved."""
    picture = Picture("<svg/>", "a wave", {".png": lambda: b"\x89PNG"})
    picture.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG"


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a"])
def test_format_that_it_has_not_is_refused(name: str, tmp_path: Path) -> None:
    """The error says which there are, and no file is made."""
    with pytest.raises(ValueError, match=r"\.svg"):
        drawing_picture(DRAWING).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_notebook_gets_all_forms() -> None:
    """HTML for tips, the SVG, and one short line for where neither can be shown."""
    picture = drawing_picture(DRAWING)
    bundle = picture._repr_mimebundle_(include=None, exclude=None)  # pyright: ignore[reportPrivateUsage]
    assert list(bundle) == ["text/html", "image/svg+xml", "text/plain"]
    assert (bundle["image/svg+xml"], bundle["text/plain"]) == (str(picture), "<Picture: text_deltas()>")
    plain = Picture("<svg/>", "a wave")._repr_mimebundle_()  # pyright: ignore[reportPrivateUsage]
    assert plain == {"image/svg+xml": "<svg/>", "text/plain": "<Picture: a wave>"}


@pytest.mark.parametrize("name", ["a.svg", "a.png"])
def test_file_is_written_whole_or_not_at_all(name: str, tmp_path: Path) -> None:
    """Where the disk is full, the one before it stays, and nothing else is left."""
    resource = pytest.importorskip("resource")
    path = tmp_path / name
    path.write_text("before")
    picture = Picture("x" * 100_000, "a wave", {".png": lambda: b"x" * 100_000})
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, usual[1]))
    try:
        with pytest.raises(OSError, match=re.escape(str(path))):
            picture.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert [(it.name, it.read_text()) for it in tmp_path.iterdir()] == [(name, "before")]


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """In a folder that there is not, or where a folder stands."""
    (tmp_path / "folder.svg").mkdir()
    for path in (tmp_path / "nowhere" / "a.svg", tmp_path / "folder.svg"):
        with pytest.raises(OSError, match=re.escape(str(path))):
            Picture("<svg/>", "a wave").save(path)


def test_link_stays_a_link_and_a_file_stays_as_it_may_be_used(tmp_path: Path) -> None:
    """What it leads to is written."""
    file, link = tmp_path / "file.svg", tmp_path / "link.svg"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file)
    Picture("<svg/>", "a wave").save(link)
    assert link.is_symlink()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("<svg/>", 0o640)
