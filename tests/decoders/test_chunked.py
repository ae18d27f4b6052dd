"""The chunked coding: what the decoder takes off and what it leaves for others, beside h11, over bytes cut anywhere."""

from collections.abc import Sequence
from itertools import pairwise

import h11
from hypothesis import given
from hypothesis import strategies as st

from rxllm._decoders._chunked import ChunkedDecoder

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

PLAIN = st.binary(min_size=1, max_size=40).map(lambda data: b"%x\r\n%b\r\n" % (len(data), data))
ODD = st.sampled_from(
    [
        b"5;name=value\r\nHello\r\n",
        b"5 \r\nHello\r\n",
        b"0005\r\nHello\r\n",
        b"5\nHello\r\n",
        b"5\r\nHello\n",
        b"5\r\nHello!\r\n",
        b"5\r\nHell\r\n",
        b"0x5\r\nHello\r\n",
        b"-5\r\nHello\r\n",
        b"+5\r\nHello\r\n",
        b"1_0\r\n0123456789abcdef\r\n",
        b"ffffffffffffffffffff\r\nHello\r\n",
        b"\r\n",
        b"\r\n5\r\nHello\r\n",
        b"5\r\n\r\n\r\n\r\n\r\n",
        b"A\r\n\r\n0\r\n\r\n\r\n\r\n\r\n",
        b"a" * 40,
        b"0\r\n\r\n",
        b"00\r\nTrailer: value\r\n\r\n",
        b"0;last\r\n\r\nmore",
    ]
)
BODIES = st.lists(st.one_of(PLAIN, PLAIN, ODD), max_size=8).map(b"".join)


def by_h11(pieces: Sequence[bytes]) -> tuple[bytes, str]:
    """The data of a body, and how it ended."""
    connection = h11.Connection(our_role=h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "here")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(HEAD)
    assert isinstance(connection.next_event(), h11.Response)
    body = b""
    for piece in [*pieces, b""]:
        try:
            connection.receive_data(piece)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if not isinstance(event, h11.Data):
                    return body, type(event).__name__
                body += event.data
        except h11.RemoteProtocolError:
            return body, "error"
    raise AssertionError("h11 tells of an end")


@given(BODIES, st.lists(st.integers(0, 400)))
def test_with_h11_for_the_rest_it_is_h11(body: bytes, cuts: list[int]) -> None:
    """Where the decoder stops, h11 goes on, and between them they come to what h11 alone comes to."""
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    pieces = [body[start:stop] for start, stop in pairwise(places)]
    decoder = ChunkedDecoder()
    data, rest = b"", list(pieces)
    while decoder.rest is None and rest:
        data += decoder.feed(rest.pop(0))
    if decoder.rest is None:
        decoder.end()
    assert decoder.rest is not None
    further, ending = by_h11([piece for piece in (decoder.rest, *rest) if piece])
    assert (data + further, ending) == by_h11([piece for piece in pieces if piece])


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1), st.integers(1, 60))
def test_plain_frames_are_never_left_to_others(datas: list[bytes], size: int) -> None:
    """Up to the last one, which is left whole; and data is given as soon as it has come."""
    body = b"".join(b"%X\r\n%b\r\n" % (len(data), data) for data in datas) + b"0\r\n\r\n"
    decoder = ChunkedDecoder()
    given, fed = b"", 0
    while decoder.rest is None:
        given += decoder.feed(body[fed : fed + size])
        fed += size
        came, left = b"", body[:fed]
        for data in datas:
            left = left.partition(b"\r\n")[2]
            came += left[: len(data)]
            left = left[len(data) + 2 :]
        assert given == came
    assert given == b"".join(datas)
    assert decoder.rest + body[fed:] == b"0\r\n\r\n"
