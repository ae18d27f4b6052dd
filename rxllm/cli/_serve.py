"""``rxllm serve``: models over HTTP, in OpenAI's form."""

import argparse
import math

from rxllm._extras import missing_extra
from rxllm.cli._output import note
from rxllm.cli._parser import Arguments, positive, teach

__all__ = ["add_arguments", "run"]


class _ServeArguments(Arguments):
    host: str
    port: int
    config: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    store: str | None
    resume_for: float
    workers: int
    shutdown_timeout: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``rxllm serve`` takes."""
    teach(
        parser,
        "Serves models over HTTP as OpenAI does: POST /v1/chat/completions, GET /v1/models, GET /health.\n"
        "Without --config these are the embedded sim/ models and those of every provider whose key is\n"
        "in the environment, as in openai/gpt-4o. With RXLLM_MASTER_KEY set, or a master_key in the file, clients\n"
        "have to send it as their key; without, only this machine is served.",
        "Standard error has the address, and one line of JSON for each request. SIGTERM or Ctrl-C lets\n"
        "streams finish for --shutdown-timeout seconds; a second one does not. A client that reads nothing of\n"
        "its answer for a minute counts as one that has left.",
        "rxllm serve",
        "rxllm serve --config models.yaml --port 8000",
        "RXLLM_MASTER_KEY=sk-... rxllm serve --host 0.0.0.0 --ssl-certfile cert.pem --ssl-keyfile key.pem",
        'curl http://localhost:4000/v1/chat/completions -d \'{"model": "sim/story", "stream": true,\n'
        '      "messages": [{"role": "user", "content": "Write a short story"}]}\'',
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=4000, help="the port; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--config", metavar="FILE", help="models and the key, as YAML in LiteLLM's model_list form")
    parser.add_argument("--ssl-certfile", metavar="FILE", help="the certificate: serves https")
    parser.add_argument("--ssl-keyfile", metavar="FILE", help="the certificate's key, where that is not in its file")
    parser.add_argument(
        "--store",
        metavar="STORE",
        type=_store,
        help='"memory" or redis://HOST:PORT: keeps streams that clients can resume; in memory, up to 64 MiB each',
    )
    parser.add_argument(
        "--resume-for",
        metavar="SECONDS",
        type=_seconds,
        default=60.0,
        help="with --store, how long a stream goes on that nobody listens to (default: %(default)g)",
    )
    parser.add_argument("--workers", metavar="N", type=positive, default=1, help="processes (default: %(default)s)")
    parser.add_argument(
        "--shutdown-timeout",
        metavar="SECONDS",
        type=positive,
        default=30,
        help="how long streams may go on after the first signal (default: %(default)s)",
    )


def run(arguments: _ServeArguments) -> int:
    """Serves, until a signal ends it."""
    try:
        import starlette
        import uvicorn
    except ImportError:
        note(f"rxllm: {missing_extra('rxllm serve', 'proxy')}")
        return 1
    del starlette, uvicorn
    from rxllm.proxy._server import ServeError, Settings, serve
    from rxllm.proxy._yaml import ConfigError

    settings = Settings(**{name: value for name, value in vars(arguments).items() if name in Settings.__annotations__})
    try:
        serve(settings, lambda line: note(f"rxllm: {line}"))
    except (ConfigError, ImportError) as error:
        note(f"rxllm: {error}")
        return 1
    except ServeError as error:
        arguments.refuse(str(error))
    return 0


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return number


def _store(text: str) -> str:
    if text != "memory" and not text.startswith(("redis://", "rediss://", "unix://")):
        raise argparse.ArgumentTypeError(f'{text!r} is neither "memory" nor an address such as redis://localhost:6379')
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
