"""Streams as the last line of a cell, in a kernel of Jupyter's, over real sockets; and on a terminal."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient
from nbformat import reads, writes  # pyright: ignore[reportUnknownVariableType]
from nbformat.v4 import new_code_cell, new_notebook  # pyright: ignore[reportUnknownVariableType]

from rxllm.testing import LLMRequest, LLMServer
from tests.server import PATIENCE

Message = dict[str, Any]


def beginning(url: str) -> str:
    """What the cells stand on."""
    return f"""
from rxllm import completion, operators as ops
from rxllm.notebook import show
from reactivex import operators as rx
def ask(text="Hi"):
    settings = {{"api_base": {url!r}, "api_key": "sk-secret-key", "max_retries": 0}}
    return completion("gpt-4", [{{"role": "user", "content": text}}], stream=True, **settings)
def simulated(text, model="sim/echo"):
    return completion(model, [{{"role": "user", "content": text}}], stream=True, extra_body={{"delay": 0}})
"""


@dataclass
class Ran:
    """What came of a cell."""

    status: str = ""
    error: str = ""
    traceback: str = ""
    printed: str = ""
    seconds: float = 0.0
    drawings: list[Message] = field(default_factory=list[Message])
    outputs: list[Message] = field(default_factory=list[Message])

    @property
    def html(self) -> str:
        """What is shown in the end, by the one output there is."""
        assert {drawing["transient"]["display_id"] for drawing in self.drawings} == {
            self.drawings[0]["transient"]["display_id"]
        }
        html: str = self.drawings[-1]["data"]["text/html"]
        return html


class Kernel:
    """A kernel that runs cells."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def run(
        self,
        code: str,
        on_drawing: Callable[[Message], None] = lambda _: None,
        on_begin: Callable[[], None] = lambda: None,
    ) -> Ran:
        """Runs a cell, and tells of its beginning and of each drawing as it comes."""
        request = self.client.execute(code)
        ran = Ran()
        begun = None
        while True:
            message: Any = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content, at = message["msg_type"], message["content"], message["header"]["date"]
            begun = begun or at
            ran.seconds = (at - begun).total_seconds()
            if kind in {"display_data", "update_display_data"}:
                ran.drawings.append(content)
                on_drawing(content)
            elif kind == "execute_input":
                on_begin()
            elif kind == "stream":
                ran.printed += content["text"]
            elif kind == "execute_result":
                ran.outputs.append(content["data"])
            elif kind == "error":
                ran.error = f"{content['ename']}: {content['evalue']}"
                ran.traceback = "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                break
        ran.status = self.status_of(request)
        return ran

    def status_of(self, request: str) -> str:
        """What the kernel replies to the request.

        A kernel that was slow to start has been asked more than once whether it is ready, and replies to each.
        """
        while True:
            reply: Any = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == request:
                status: str = reply["content"]["status"]
                return status


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Kernel, LLMServer]]:
    """One kernel for all, and the server that it asks."""
    with LLMServer() as server:
        manager, client = start_new_kernel(kernel_name="python3")
        try:
            kernel = Kernel(manager, client)
            assert kernel.run(beginning(server.url)).status == "ok"
            yield kernel, server
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(running: tuple[Kernel, LLMServer]) -> Kernel:
    """The kernel."""
    return running[0]


@pytest.fixture
def llm(running: tuple[Kernel, LLMServer]) -> LLMServer:
    """The server."""
    return running[1]


def test_the_last_line_shows_the_answer(kernel: Kernel, llm: LLMServer) -> None:
    """As Markdown, with its figures, in one output that has a form for every front end."""
    before = len(llm.requests)
    llm.answer("Hello **you**, ", "<script>alert(1)</script>", usage={"completion_tokens": 7})
    ran = kernel.run("ask()")
    assert len(llm.requests) == before + 1
    assert (ran.status, ran.outputs, ran.printed) == ("ok", [], "")
    assert "Hello <strong>you</strong>, &lt;script&gt;" in ran.html
    assert "7 tokens, " in ran.html
    assert "finish reason: stop" in ran.html
    *under_way, last = ran.drawings
    assert all(drawing["data"].keys() == {"text/html", "text/plain"} for drawing in under_way)
    data = last["data"]
    assert data["text/markdown"] == "Hello **you**, <script>alert(1)</script>"
    assert data["text/plain"].startswith("Hello **you**, <script>alert(1)</script>\n(")


def test_a_burst_is_drawn_thirty_times_a_second(kernel: Kernel, llm: LLMServer) -> None:
    """However many chunks come, by the time that the kernel says it took; the last state is shown."""
    llm.answer(*(f"word{number} " for number in range(2_000)))
    ran = kernel.run("ask()")
    assert 2 <= len(ran.drawings) <= 30 * ran.seconds + 2
    assert "word1999" in ran.html
    assert "finish reason: stop" in ran.html


@pytest.mark.parametrize(
    ("piece", "weight"), [("    words\n" * 200, 0), ("\\\\(x\\\\) ", 10_000)], ids=["long", "formulas"]
)
def test_what_is_much_is_drawn_less_often(kernel: Kernel, llm: LLMServer, piece: str, weight: int) -> None:
    """A front end gets a megabyte a second, by the kernel's own time; each formula, which it typesets, counts more."""
    llm.answer(*[piece] * 300, pause=0.003)
    ran = kernel.run("ask()")
    drawings = [drawing["data"]["text/html"] for drawing in ran.drawings]
    weights = [len(html) + weight * html.count("mathjax_process") for html in drawings]
    assert weights[-1] >= 300_000
    assert sum(weights[:-2]) <= 1_000_000 * ran.seconds


def test_whoever_waits_sees_it(kernel: Kernel, llm: LLMServer) -> None:
    """Within a second or so, though nothing comes."""
    llm.answer("Hello", delay=10 * PATIENCE)
    waiting: list[str] = []

    def interrupt(drawing: Message) -> None:
        if not waiting:
            waiting.append(drawing["data"]["text/html"])
            kernel.manager.interrupt_kernel()

    assert kernel.run("ask()", interrupt).status == "error"
    assert "waiting for gpt-4, 1 s" in waiting[0]
    assert llm.requests[-1].cancelled()


def test_interrupting_cancels(kernel: Kernel, llm: LLMServer) -> None:
    """The server sees the connection close, what had come stays, and the run of the notebook ends."""
    llm.answer("Hello", fault="stalled")
    done = False

    def interrupt(drawing: Message) -> None:
        nonlocal done
        if not done and "Hello" in drawing["data"]["text/html"]:
            done = True
            kernel.manager.interrupt_kernel()

    ran = kernel.run("ask()", interrupt)
    assert (ran.status, ran.error.split(":")[0]) == ("error", "KeyboardInterrupt")
    assert "Hello" in ran.html
    assert ", cancelled" in ran.html
    assert llm.requests[-1].cancelled()
    assert "_loop.py" not in ran.traceback
    assert kernel.run("print('next')").printed == "next\n"


def test_interrupting_before_anything_came(kernel: Kernel, llm: LLMServer) -> None:
    """As soon as the server has the request: there are the figures alone."""
    arrived = threading.Event()

    def note(_: LLMRequest) -> bool:
        arrived.set()
        return True

    def interrupt() -> None:
        assert arrived.wait(PATIENCE)
        kernel.manager.interrupt_kernel()

    llm.answer("Hello", delay=10 * PATIENCE, when=note)
    ran = kernel.run("ask()", on_begin=interrupt)
    assert ran.status == "error"
    assert "0 items, " in ran.html
    assert ", cancelled" in ran.html
    assert llm.requests[-1].cancelled()


def test_interrupting_cancels_all(kernel: Kernel, llm: LLMServer) -> None:
    """Of several side by side."""
    llm.answer("Hello", fault="stalled")
    llm.answer("Hello", fault="stalled")
    done = False

    def interrupt(drawing: Message) -> None:
        nonlocal done
        if not done and drawing["data"]["text/html"].count("Hello") == 2:
            done = True
            kernel.manager.interrupt_kernel()

    ran = kernel.run("show(ask('one'), ask('two'))", interrupt)
    assert (ran.status, ran.html.count(", cancelled")) == ("error", 2)
    assert [request.cancelled() for request in llm.requests[-2:]] == [True, True]


def test_an_error_is_shown_after_what_had_come(kernel: Kernel, llm: LLMServer) -> None:
    """In words, without a traceback, and the run of the notebook goes on."""
    llm.answer("Hel", fault="truncated")
    ran = kernel.run("ask()")
    assert (ran.status, ran.error, ran.printed, ran.outputs) == ("ok", "", "", [])
    assert ran.html.index("Hel") < ran.html.index("IncompleteStreamError: ")
    assert "failed: IncompleteStreamError" in ran.html


def test_no_key_is_shown(kernel: Kernel, llm: LLMServer) -> None:
    """Though the provider says it."""
    llm.answer("Incorrect API key provided: sk-secret-key", status=401)
    ran = kernel.run("ask()")
    assert "AuthenticationError: " in ran.html
    assert "sk-secret-key" not in str(ran)


def test_an_error_of_the_users_own_has_its_traceback(kernel: Kernel) -> None:
    """Beside what is shown, since it is looked for in their code; the run of the notebook ends."""
    ran = kernel.run("simulated('Hi').pipe(rx.map(lambda chunk: chunk.no_such_thing))")
    assert "AttributeError: " in ran.html
    assert (ran.status, ran.error.split(":")[0]) == ("error", "AttributeError")
    assert "lambda" in ran.traceback
    assert "display_streams" not in ran.traceback


def test_nothing_else_sends_a_request(kernel: Kernel, llm: LLMServer) -> None:
    """As repr, rich, IPython's probing for other forms, completion by Tab, and its list of variables."""
    before = len(llm.requests)
    code = """
import io, pprint, rich, rich.console
stream = ask()
streams = [stream, {"a": stream.pipe(ops.accumulate_text())}]
console = rich.console.Console(file=io.StringIO(), force_jupyter=False)
rich.inspect(stream, all=True, console=console)
console.print(streams)
pprint.pprint(streams)
assert console.file.getvalue()
for name in dir(stream):
    if name.startswith(("_repr", "__rich", "_ipython_")) and name != "_ipython_display_":
        getattr(stream, name)
print(repr(stream), f"{stream}")
"""
    ran = kernel.run(code)
    assert (ran.status, ran.drawings) == ("ok", []), ran.error
    assert "<Stream of gpt-4> <Stream of gpt-4>" in ran.printed
    assert "Stream" in str(kernel.run("streams").outputs)
    for line in ("%whos", "stream?", "stream??", "assert stream._repr_mimebundle_", "hasattr(stream, '_repr_html_')"):
        kernel.run(line)
    client = kernel.client
    for request in (
        client.complete("stream.", 7),
        client.complete("stream.pipe(", 12),
        client.inspect("stream", 3, detail_level=1),
        client.inspect("stream", 3, detail_level=0),
    ):
        assert kernel.status_of(request) == "ok"
    assert len(llm.requests) == before


class Debugger:
    """What JupyterLab's debugger asks a kernel."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client
        self._count = 0
        self.ask("initialize", clientID="tests", adapterID="", linesStartAt1=True)
        self.ask("attach")

    def ask(self, command: str, **arguments: Any) -> Message:
        """What is replied."""
        self._count += 1
        content = {"type": "request", "seq": self._count, "command": command, "arguments": arguments}
        request: Any = self._client.session.msg("debug_request", content)
        self._client.control_channel.send(request)
        while True:
            reply: Any = self._client.get_control_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                assert reply["content"]["success"], reply
                body: Message = reply["content"].get("body") or {}
                return body

    def stop_in(self, code: str, line: int) -> tuple[int, int]:
        """Runs the code and stops at the line; the thread and the frame."""
        path = self.ask("dumpCell", code=code)["sourcePath"]
        self.ask("setBreakpoints", source={"path": path}, breakpoints=[{"line": line}], sourceModified=False)
        self.ask("configurationDone")
        self._client.execute(code)
        while True:
            message: Any = self._client.get_iopub_msg(timeout=PATIENCE)
            if message["msg_type"] == "debug_event" and message["content"]["event"] == "stopped":
                thread: int = message["content"]["body"]["threadId"]
                return thread, self.ask("stackTrace", threadId=thread)["stackFrames"][0]["id"]


def test_no_debugger_sends_a_request() -> None:
    """Its list of variables shows them by ``repr``, also while the program is stopped."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        with LLMServer() as llm:
            assert Kernel(manager, client).run(f"{beginning(llm.url)}\nstream = ask()").status == "ok"
            debugger = Debugger(client)
            seen = [debugger.ask("richInspectVariables", variableName="stream")]
            thread, frame = debugger.stop_in("def f():\n    inner = stream\n    return inner\nf()", 3)
            seen.append(debugger.ask("richInspectVariables", variableName="inner", frameId=frame))
            debugger.ask("continue", threadId=thread)
            assert [body["data"] for body in seen] == [{"text/plain": "<Stream of gpt-4>"}] * 2
            assert llm.requests == []
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_several_side_by_side(kernel: Kernel, llm: LLMServer) -> None:
    """All requests at once, each with its figures; one that fails tells so in its own column, and the others go on."""
    llm.answer("Slow down", status=429, when=lambda request: "bad" in str(request.json))
    llm.answer("good answer", when=lambda request: "good" in str(request.json))
    ran = kernel.run("show(ask('good'), ask('bad'), simulated('offline'), labels=['a', 'b', 'c'])")
    assert (ran.status, ran.printed, ran.outputs) == ("ok", "", [])
    head, columns = ran.html.split("</tr>", 1)
    assert [head.count(f">{label}</th>") for label in "abc"] == [1, 1, 1]
    good, bad, offline = columns.split("<td")[1:]
    assert "good answer" in good
    assert "finish reason: stop" in good
    assert "RateLimitError: Slow down" in bad
    assert "offline" in offline
    assert ran.drawings[-1]["data"]["text/markdown"].startswith("**a**\n\ngood answer\n\n**b**")


def test_a_loop_on_the_kernels_own_thread(kernel: Kernel, llm: LLMServer) -> None:
    """Where an event loop runs: a plain loop, and one that awaits."""
    llm.answer("Hello")
    llm.answer("Hello")
    ran = kernel.run(
        "import asyncio\nassert asyncio.get_event_loop().is_running()\n"
        "print([text for text in ask().pipe(ops.text_deltas())])\n"
        "print([text async for text in ask().pipe(ops.text_deltas())])\n"
        "print([text for text in simulated('Hi').pipe(ops.text_deltas())])"
    )
    assert ran.printed == "['Hello']\n['Hello']\n['Hi']\n"


def test_one_line_where_the_extra_is_missing(kernel: Kernel, llm: LLMServer) -> None:
    """Before anything is sent; show() raises it."""
    before = len(llm.requests)
    without = (
        "import sys\nfrom rxllm import _display_html\n_display_html._markdown.cache_clear()\n"
        "kept = sys.modules['markdown_it']\nsys.modules['markdown_it'] = None"
    )
    assert kernel.run(without).status == "ok"
    ran, shown = kernel.run("ask()"), kernel.run("show(ask(), ask())")
    assert kernel.run("sys.modules['markdown_it'] = kept").status == "ok"
    line = "Showing a Stream in a notebook needs an extra: pip install 'rxllm[notebook]'"
    assert (ran.status, ran.printed, ran.outputs, ran.drawings) == ("ok", f"rxllm: {line}\n", [], [])
    assert (shown.status, shown.error) == ("error", f"ImportError: {line}")
    assert len(llm.requests) == before


def test_the_saved_notebook_keeps_the_last_state() -> None:
    """Of each cell, in one output, in all of its forms."""
    cells = [
        beginning("http://127.0.0.1:9"),
        "simulated('Think', 'sim/reason')",
        "show(simulated('one'), simulated('two'))",
        "simulated('**b**').pipe(ops.accumulate_text())",
    ]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=int(PATIENCE), kernel_name="python3").execute()
    saved = cast("Any", reads(writes(notebook), as_version=4))  # type: ignore[no-untyped-call]
    kept: list[Any] = [cell.outputs for cell in saved.cells[1:]]
    assert [[output.output_type for output in outputs] for outputs in kept] == [["display_data"]] * 3
    reasoned, shown, grown = [outputs[0].data for outputs in kept]
    assert "<details><summary " in reasoned["text/html"]
    assert "finish reason: stop" in reasoned["text/html"]
    assert shown["text/html"].count("finish reason: stop") == 2
    assert (grown["text/markdown"], "<strong>b</strong>" in grown["text/html"]) == ("**b**", True)


def test_on_a_terminal_the_text_is_printed() -> None:
    """By IPython without a kernel: the text, and then its figures; a table has no place there."""
    lines = [
        "from rxllm import completion",
        "from rxllm.notebook import show",
        "completion('sim/echo', [{'role': 'user', 'content': 'Hello **you**'}], stream=True, extra_body={'delay': 0})",
        "show(completion('sim/echo', [{'role': 'user', 'content': 'Bye'}], stream=True), labels=['one'])",
    ]
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "--quick"]
    run = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "Hello **you**\n(6 chunks, 4 tokens, " in run.stdout, run.stdout + run.stderr
    assert "one\nBye\n(3 chunks, 1 token, " in run.stdout
    assert "<Stream" not in run.stdout
