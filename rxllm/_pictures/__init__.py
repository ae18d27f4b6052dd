"""Pictures of streams: marbles, and when the chunks came."""

from rxllm._pictures._drawing import drawing_picture
from rxllm._pictures._marbles import marbles
from rxllm._pictures._picture import Picture
from rxllm._pictures._timeline import timeline, timeline_of

__all__ = ["Picture", "drawing_picture", "marbles", "timeline", "timeline_of"]
