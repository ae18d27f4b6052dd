"""What the site has beside docs/: the pages at the root of the project, pictures of marbles, and links between them.

A hook of mkdocs (mkdocs.yml). A page that lies outside of docs/ keeps the links that a code host understands; here they
are turned into links between the pages of the site. What is no page of the site is named and not linked. An operator is
linked where a page first names it.
"""

import posixpath
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from rxllm import operators
from rxllm._pictures import drawing_picture

__all__ = ["on_files", "on_page_content", "on_page_markdown"]

ROOT: Final = Path(__file__).resolve().parents[1]

# The pages at the root, and what they are called on the site.
PAGES: Final = {
    "OPERATORS.md": "operators.md",
    "PROVIDERS.md": "providers.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
}
# Where every block of text is a drawing of marbles.
DRAWN: Final = {"operators.md", "reference/operators.md"}
_BY_SYSTEM: Final = "@media (prefers-color-scheme:dark){"
_BY_SITE: Final = '[data-md-color-scheme="slate"]{'
_FENCED: Final = re.compile(
    r"^(?P<marks>`{3,})(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=marks)$", re.DOTALL | re.MULTILINE
)
_TEXT: Final = re.compile(r'<div class="language-text highlight"><pre>(?P<drawing>.*?)</pre></div>', re.DOTALL)
_LINK_OR_OPERATOR: Final = re.compile(
    r"\[(?P<label>(?:`[^`]*`|[^\[\]`])*)\]\((?P<target>[^)\s]+)\)|(?<!`)`(?:ops\.)?(?P<operator>[a-z_]+)\([^`\n]*\)`(?!`)"
)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages at the root."""
    for source, name in PAGES.items():
        if name != "index.md":
            files.append(File.generated(config, name, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  mkdocs's
    """The page with links within the site, and one where it first names an operator."""
    here = page.file.src_uri
    source = next((at for at, name in PAGES.items() if name == here != "index.md"), f"docs/{here}")
    if here.startswith("reference/"):
        page.meta["search"] = {"boost": 0.5}  # what tells how to use a thing is found before what specifies it
    told = set(() if here in DRAWN else operators.__all__)
    operators_page = posixpath.relpath("operators.md", posixpath.dirname(here) or ".")

    def linked(part: re.Match[str]) -> str:
        if part["target"]:
            return _within_site(part, source, here)
        if part["operator"] not in told:
            return part[0]
        told.remove(part["operator"])
        return f"[{part[0]}]({operators_page}#{part['operator']})"

    return _outside_fences(markdown, lambda text: _LINK_OR_OPERATOR.sub(linked, text))


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  mkdocs's
    """The page with its drawings of marbles as pictures."""
    return _TEXT.sub(_picture, html) if page.file.src_uri in DRAWN else html


def _picture(block: re.Match[str]) -> str:
    """A block of text that is a drawing, as SVG; the site has a switch of its own between light and dark."""
    drawing = unescape(re.sub("<[^>]*>", "", block["drawing"]))
    svg = str(drawing_picture(drawing)).replace(_BY_SYSTEM, _BY_SITE)
    return f'<div class="marbles" data-search-exclude>{svg}</div>'


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
