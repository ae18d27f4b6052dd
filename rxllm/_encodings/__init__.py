"""The token encodings cl100k_base and o200k_base, which are OpenAI's: see LICENSE.

``scripts/pack_encodings.py`` packs them.
"""
