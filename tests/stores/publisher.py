"""A process that publishes a chunk for each line that it is given, and says when it was passed on.

``python publisher.py URL KEY LEASE``
"""

import sys
from collections.abc import Iterator

from rxllm import ModelResponseStream, as_stream
from rxllm import operators as ops
from rxllm.stores import RedisStore


def chunks() -> Iterator[ModelResponseStream]:
    """What it is told to say."""
    for line in sys.stdin:
        yield ModelResponseStream.of(line.rstrip("\n"))


if __name__ == "__main__":
    url, key, lease = sys.argv[1:]
    store = RedisStore(url, lease=float(lease))
    for chunk in as_stream(chunks()).pipe(ops.publish_to(store, key)):
        sys.stdout.write(f"{chunk.choices[0].delta.content}\n")
        sys.stdout.flush()
