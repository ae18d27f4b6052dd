"""The token encodings cl100k_base and o200k_base, packed by ``scripts/pack_encodings.py``. See LICENSE: they are OpenAI's."""
