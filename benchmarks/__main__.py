"""rxllm's speed beside that of a raw socket, httpx with json.loads, openai-python and LiteLLM, in one run.

    python -m benchmarks [--quick] [--json FILE] [--chart FILE.svg] [--markdown]

A server in a process of its own sends streams that were made beforehand (``benchmarks.upstream`` says how), and each
client is in a process of its own too: what one of them imports slows no other. They take turns, round after round, in
an order that is turned round each time. Figures are medians of the rounds; a ratio is the median of the ratios of each
round. What an aim of the project is to be at most, and whether it is, stands first.

What is measured:

- CPU per chunk is the processor time of all threads of the process, by all chunks of text. It has the request in it,
  and what the garbage collector does; a collection before each reading takes what was before away. In streams of
  2,000 chunks the request has no part to speak of; of 50 chunks for 300 streams at once, it has.
- What a chunk costs in a long stream against a short one is told twice: by all that the streams cost, and by what they
  cost beyond a stream of one chunk.
- The time to the first chunk is that from asking to the first turn of the loop, on a connection that stands; the
  server answers at once, and sends the second chunk 2 milliseconds later.
- Leaving is ``break``, until the server sees the connection end. rxllm needs no more; openai and LiteLLM are closed as
  well, but for the rows that say otherwise.
- Memory is what is resident at most while a long stream is read and dropped, above what is after a first short one.
- Importing is done by fresh interpreters.

OpenAI's events are read where nothing is said; ``vLLM`` has the same shape, but nothing changes in it save the text.
There are seven rounds, the first five with LiteLLM, which takes up to a millisecond for a chunk and is spared the
streams of 50,000; openai reads those once. With a thousand streams at once there are three.

Packages that are not installed are left out: ``pip install -e '.[benchmarks]'`` brings them. All of it takes some ten
minutes, and wants a machine that does nothing else; ``--quick`` takes one, and is too short to judge by.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.chart import draw
from benchmarks.figures import Figures
from benchmarks.machine import machine
from benchmarks.plan import FULL, QUICK, run
from benchmarks.subjects import PEERS, installed
from benchmarks.tables import as_markdown, as_text, details, of_aims, where
from benchmarks.upstream import upstream

# Nothing is reached but this machine, by no proxy; and LiteLLM may have as many connections as there are streams.
_ENVIRONMENT = {"NO_PROXY": "*", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "1000"}


def main() -> None:
    """Measures, prints the tables, and writes what is asked for."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything, in a minute")
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write all figures")
    parser.add_argument("--chart", metavar="FILE.svg", type=Path, help="where to draw a chart (wants matplotlib)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    arguments = parser.parse_args()
    if arguments.chart and installed("matplotlib") is None:
        parser.error("--chart wants matplotlib: pip install -e '.[benchmarks]'")
    os.environ.update(_ENVIRONMENT)
    figures, here = Figures(), machine()
    with upstream() as address:
        for step in run(QUICK if arguments.quick else FULL, address, figures):
            if sys.stderr.isatty():
                print(f"\r\x1b[K{step}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    written = as_markdown if arguments.markdown else as_text
    for table in (of_aims(figures), *details(figures)):
        print(written(table))
    print(where(here))
    absent = [name for name in PEERS if installed(name) is None]
    if absent:
        print(f"Not installed, and left out: {', '.join(absent)}.")
    if arguments.json:
        arguments.json.write_text(json.dumps({**here, "absent": absent, "figures": figures.dump()}, indent=1) + "\n")
    if arguments.chart:
        draw(figures, arguments.chart)


if __name__ == "__main__":
    main()
