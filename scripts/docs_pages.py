"""What the site has beside docs/: the pages at the root of the project, pictures of marbles, and links between them.

A hook of mkdocs (mkdocs.yml). A page that lies outside of docs/ keeps the links that a code host understands; here they
are turned into links between the pages of the site. What is no page of the site is named and not linked.
"""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from rxllm._pictures import drawing_picture

__all__ = ["on_files", "on_page_markdown"]

ROOT: Final = Path(__file__).resolve().parents[1]

# The pages at the root, and what they are called on the site.
PAGES: Final = {
    "OPERATORS.md": "operators.md",
    "PROVIDERS.md": "providers.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
}
_BY_SYSTEM: Final = "@media (prefers-color-scheme:dark){"
_BY_SITE: Final = '[data-md-color-scheme="slate"]{'
_FENCED: Final = re.compile(
    r"^(?P<marks>`{3,})(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=marks)$", re.DOTALL | re.MULTILINE
)
_LINK: Final = re.compile(r"\[(?P<label>(?:`[^`]*`|[^\[\]`])*)\]\((?P<target>[^)\s]+)\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages at the root."""
    for source, name in PAGES.items():
        if name != "index.md":
            files.append(File.generated(config, name, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  mkdocs's
    """The page as the site has it: drawings of marbles as pictures, and links within the site."""
    here = page.file.src_uri
    source = next((at for at, name in PAGES.items() if name == here != "index.md"), f"docs/{here}")
    if source == "OPERATORS.md":
        markdown = _with_pictures(markdown)
    return _outside_fences(markdown, lambda text: _LINK.sub(lambda link: _within_site(link, source, here), text))


def _with_pictures(markdown: str) -> str:
    """The catalogue of operators, each drawing of marbles as an SVG."""

    def drawn(block: re.Match[str]) -> str:
        if block["language"] != "text":
            return block[0]
        # The site has a switch of its own between light and dark. A blank line would end a block of HTML.
        svg = str(drawing_picture(block["text"])).replace(_BY_SYSTEM, _BY_SITE)
        return '<div class="marbles">' + "\n".join(line for line in svg.splitlines() if line.strip()) + "</div>"

    return _FENCED.sub(drawn, markdown)


def _outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """What is made of the prose; blocks of code stay."""
    parts: list[str] = []
    at = 0
    for block in _FENCED.finditer(markdown):
        parts += [change(markdown[at : block.start()]), block[0]]
        at = block.end()
    return "".join([*parts, change(markdown[at:])])


def _within_site(link: re.Match[str], source: str, here: str) -> str:
    """A link of the page that lies at ``source`` in the project and at ``here`` in the site."""
    path, sharp, anchor = link["target"].partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return link[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if operator := re.fullmatch(r"operators/_(\w+)\.py", target):
        page, sharp, anchor = "reference/operators.md", "#", f"rxllm.operators.{operator[1]}"
    elif target in PAGES:
        page = PAGES[target]
    elif target.startswith("docs/"):
        page = target.removeprefix("docs/")
    else:
        return link["label"]
    return f"[{link['label']}]({posixpath.relpath(page, posixpath.dirname(here) or '.')}{sharp}{anchor})"
