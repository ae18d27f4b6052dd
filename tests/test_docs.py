"""docs/ is true: what its pages have is run, prints what they say, and makes a site without a warning."""

import builtins
import contextlib
import importlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import reactivex
from reactivex import operators as rx_ops

import rxllm
from rxllm import exceptions, notebook, proxy, stores, testing, types
from rxllm import operators as ops
from rxllm.cli import main
from tests.documents import ROOT, Page, differences, documented, loop_and_pipeline, reader, same
from tests.recordings import RANKS, RECIPES

PAGES = [Page(str(path.relative_to(ROOT))) for path in sorted((ROOT / "docs").rglob("*.md"))]
RECIPE_PAGES = [page for page in PAGES if "\n## The documented loop\n" in page.text]
AT_THE_ROOT = [Page(name) for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "OPERATORS.md", "PROVIDERS.md")]
# What pages may call without more: what is public here and in reactivex, Python's own, and what other libraries have.
CALLABLE = {
    name
    for module in (rxllm, exceptions, notebook, ops, proxy, stores, testing, types, reactivex, rx_ops, builtins)
    for name in (*dir(module), *getattr(module, "__all__", ()))
} | {*dir(rxllm.Stream), *dir(testing.LLMServer), *dir(str), "dispose", "Response", "StreamingHttpResponse"}
needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="the extra docs is not installed: pip install 'rxllm[docs]'"
)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_prints_what_it_says(page: Page, tmp_path: Path) -> None:
    """All its blocks, in order, as one reader would; only the documented recipes send anything, and they do."""
    asks = page in RECIPE_PAGES
    with reader(tmp_path, asks=asks) as (someone, server):
        assert differences(page, someone) == {}
        assert bool(server.requests) == asks


def test_what_is_not_true_is_noticed(tmp_path: Path) -> None:
    """Another output, one that is not said, a command that fails, a block that nobody runs, one that is indented."""
    path = tmp_path / "page.md"

    def page(*blocks: str) -> Page:
        path.write_text("\n\n".join(blocks), "utf-8")
        return Page(str(path))

    says_one, one, two = "```python\nprint(1)\n```", "```text\n1\n```", "```text\n2\n```"
    with reader(tmp_path, asks=False) as (someone, _):
        assert differences(page(says_one, one), someone) == {}
        assert len(differences(page(says_one, two), someone)) == 1
        assert len(differences(page(says_one), someone)) == 1
        assert len(differences(page("```console\necho 1\n```", two), someone)) == 1
        with pytest.raises(AssertionError, match="exit code 1"):
            differences(page("```console\nfalse\n```"), someone)
        with pytest.raises(AssertionError, match="Failed example"):
            differences(page("```pycon\n>>> 1\n2\n```"), someone)
        with pytest.raises(ValueError, match="Expecting"):
            differences(page("```json\n{\n```"), someone)
    assert len(page(says_one, "In between.", one, "```rust\n```").unexplained()) == 2
    with pytest.raises(AssertionError, match="indented"):
        _ = page("  ```python\n  1\n  ```").blocks
    for hidden in ("> ```python\n> 1\n> ```", "So:\n\n    print(1)", ">     print(1)", "<pre>print(1)</pre>"):
        with pytest.raises(AssertionError, match="no block of its own"):
            _ = page(hidden).blocks


@pytest.mark.parametrize("page", [*PAGES, *AT_THE_ROOT], ids=str)
def test_no_block_is_left_out(page: Page) -> None:
    """Each is run, parsed, or what one before it prints; but for the tree of errors, and what other tests compare."""
    left = [block for block in page.unexplained() if not block.text.startswith("APIError\n")]
    if page.name == "OPERATORS.md":  # its drawings, as its examples, are those of the docstrings: test_catalogue.py
        left = [block for block in left if not block.topic]
    assert left == []


def test_pages_at_the_root(tmp_path: Path) -> None:
    """What they have to run, runs, but for the line of CONTRIBUTING.md that test_adding_a_provider.py adds."""
    with reader(tmp_path, asks=False) as (someone, _):
        for name in ("OPERATORS.md", "PROVIDERS.md"):
            (block,) = (block for block in Page(name).blocks if block.language == "python")
            assert someone.run(block) == ""
    commands = [block.text for block in Page("CONTRIBUTING.md").blocks if block.language == "console"]
    parts = re.findall(r"(?:^\$ |&& )(.*?)(?= &&|$)", "".join(commands), flags=re.MULTILINE)
    assert len(parts) == 7
    ci = (ROOT / ".ci" / "run").read_text("utf-8").replace("--quiet ", "")
    assert [part for part in parts if part not in ci] == []


@pytest.mark.parametrize("page", RECIPE_PAGES, ids=str)
def test_a_recipe_and_its_pipeline_print_the_same(page: Page, tmp_path: Path) -> None:
    """The documented loop, and the pipeline below it, over the same answer."""
    loop, pipeline = loop_and_pipeline(page)
    with reader(tmp_path, asks=True) as (someone, _):
        if "tiktoken" in loop.text and not RANKS.is_dir():
            pytest.skip("tiktoken's own rank files are not at ../shared/tiktoken")
        printed = someone.run(loop)
        assert len(printed) > 20
        assert same(printed, someone.run(pipeline))


def test_there_is_a_page_for_each_recipe() -> None:
    """Nine of the streaming guide, and one of asynchronous completion."""
    assert len(RECIPE_PAGES) == 10


@pytest.mark.skipif(not RECIPES.is_dir(), reason="the documentation is not at ../shared/recipes")
@pytest.mark.parametrize("page", RECIPE_PAGES, ids=str)
def test_recipes_are_the_documented_ones(page: Page) -> None:
    """Each stands in the documentation, to the letter but for the package's name and white space."""
    loop, _ = loop_and_pipeline(page)
    told = "".join(path.read_text("utf-8") for path in sorted(RECIPES.glob("*.txt")))
    assert documented(loop.text.replace("from rxllm", "from litellm")) in documented(told)


def test_the_tree_of_errors() -> None:
    """It is that of rxllm.exceptions, and leaves none out."""
    (tree,) = (block.text for block in Page("docs/errors.md").blocks if block.text.startswith("APIError\n"))
    names = re.findall(r"\b[A-Z]\w+(?:Error|Timeout)\b|\bTimeout\b", tree)
    assert sorted(names) == exceptions.__all__
    parents: list[str] = []
    for line in tree.splitlines():
        branch, name = re.match(r"(\W*)(\w+)", line).groups()  # type: ignore[union-attr]
        del parents[len(branch) // 4 :]
        found = getattr(exceptions, name)
        assert found.__bases__ == ((getattr(exceptions, parents[-1]),) if parents else (Exception,))
        parents.append(name)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_is_named_is_there(page: Page) -> None:
    """Each `ops.name`, in sentences and tables too, is an operator; so with the names of reactivex and of rxllm."""
    modules = {"ops": ops, "rx_ops": rx_ops, "rx": reactivex, "rxllm": rxllm}
    named = re.findall(r"(?<![\w./])(ops|rx_ops|rx|rxllm)\.(\w+)(?=[(`\s,.])", page.text)
    missing = [(name, member) for name, member in named if not hasattr(modules[name], member)]
    # A submodule is there, whether or not a test before this one has imported it.
    assert [
        f"{name}.{it}" for name, it in missing if name != "rxllm" or not importlib.util.find_spec(f"rxllm.{it}")
    ] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "docs/coming-from.md"], ids=str)
def test_what_is_called_is_there(page: Page) -> None:
    """So with names in code that are called and stand alone, unless the page itself defines them."""
    code = "".join(block.text for block in page.blocks)
    called = set(re.findall(r"(?<!`)`(\w+)\([^`\n]*\)`", page.prose))
    assert [name for name in sorted(called - CALLABLE) if not re.search(rf"\b{name}\b", code)] == []


def test_the_laws_have_their_tests() -> None:
    """Each test that the page of the design names is where it says."""
    laws = Page("docs/design.md").text.partition("## The laws")[2].partition("\n## ")[0]
    paragraphs = [text for text in laws.split("\n\n") if text.startswith("**")]
    assert len(paragraphs) > 12
    for paragraph in paragraphs:
        told = re.findall(r"((?:`test_\w+`(?:,| and)?\s+)+)in\s+`(tests/[\w/]+\.py)`", paragraph)
        assert told, paragraph
        for tests, path in told:
            source = (ROOT / path).read_text("utf-8")
            assert [test for test in re.findall(r"`(\w+)`", tests) if f"def {test}(" not in source] == []


def test_every_command_is_told_of() -> None:
    """The page of the command line names each that ``rxllm --help`` names."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["--help"]) == 0
    commands = re.findall(r"^    (\w+)  +\w", out.getvalue(), flags=re.MULTILINE)
    assert len(commands) > 4
    page = Page("docs/how-to/command-line.md").text
    assert [command for command in commands if f"rxllm {command}" not in page] == []


def test_the_decision_aid() -> None:
    """What says which operator to take leads to each."""
    aid = Page("OPERATORS.md").text.partition("## Which one?")[2].partition("\n## ")[0]
    assert sorted(set(re.findall(r"\[`(\w+)\(\)`\]\(#\1\)", aid))) == ops.__all__


@pytest.mark.parametrize(("name", "module"), [("types", types), ("testing", testing)])
def test_the_reference_leaves_nothing_out(name: str, module: ModuleType) -> None:
    """The pages that say in which order they have their members have them all."""
    members = Page(f"docs/reference/{name}.md").text.partition("members:")[2]
    assert sorted(re.findall(r"\w+", members)) == module.__all__


def test_the_reference_has_what_is_public() -> None:
    """All that rxllm exports has its place; chunks and responses have theirs among the types."""
    told = re.findall(r"^::: rxllm\.(\w+)$", "".join(page.text for page in PAGES), flags=re.MULTILINE)
    assert sorted({*told, *types.__all__} & {*rxllm.__all__}) == [
        name for name in rxllm.__all__ if name != "__version__"
    ]
    assert {"exceptions", "notebook", "operators", "proxy", "stores", "testing", "types"} <= {*told}


def test_commands_that_install() -> None:
    """They are README's or CONTRIBUTING's, which CI runs, or name extras that there are."""
    known = (ROOT / "README.md").read_text("utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for block in (block for page in PAGES for block in page.blocks if block.installs):
        for line in block.text.splitlines():
            extra = re.fullmatch(r"pip install '\.\[(\w+)\]'", line)
            assert extra[1] in extras if extra else f"\n{line}\n" in known


@pytest.mark.parametrize("page", [*PAGES, *AT_THE_ROOT], ids=str)
def test_links_lead_somewhere(page: Page) -> None:
    """Every link into the repository names what is there, so that the page can be read on a code host."""
    folder = (ROOT / page.name).parent
    assert [link for link in page.links() if not (folder / link.partition("#")[0]).exists()] == []


@needs_mkdocs
def test_docstrings_become_markdown() -> None:
    """Examples, drawings, roles and tables; sections, which griffe reads, stay."""
    in_markdown = importlib.import_module("scripts.docs_docstrings").in_markdown
    assert in_markdown("Adds :class:`Int`.\n\n::\n\n    a\n\n    b\n\nArgs:\n    a: one.\n\n>>> f(1)\n1") == (
        "Adds `Int`.\n\n```text\na\n\nb\n```\n\nArgs:\n    a: one.\n\n```pycon\n>>> f(1)\n1\n```"
    )
    table = "===== ====\n``|`` end\n``a`` text\n===== ===="
    assert in_markdown(table) == "| | |\n|---|---|\n| `\\|` | end |\n| ``a`` | text |"


@needs_mkdocs
def test_the_site(tmp_path: Path) -> None:
    """It is built without a warning, needs nothing from elsewhere, and shows each operator's marbles as a picture."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    said = built.stdout + built.stderr
    assert built.returncode == 0, said
    assert "WARNING" not in said
    pages = {str(path.relative_to(tmp_path)): path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    assert len(pages) > len(PAGES)
    for text in pages.values():
        assert re.findall(r'<(?:script|img|iframe)[^>]* src="https?:|<link[^>]* href="https?:', text) == []
        assert 'iframe-worker.js"></script>' in text
    assert (tmp_path / "search" / "search_index.js").is_file()  # for the search where pages are read from files
    catalogue = pages["operators.html"]
    names = re.findall(r"^### (\w+)$", Page("OPERATORS.md").text, flags=re.MULTILINE)
    assert len(names) > 30
    for name in names:
        section = catalogue.partition(f'<h3 id="{name}">')[2].partition("<h3 ")[0]
        assert section.count("<svg ") >= 1, name
    assert pages["reference/operators.html"].count('<div class="marbles"') == len(names)
    assert "prefers-color-scheme" not in catalogue.partition("<article")[2].partition("</article>")[0]
