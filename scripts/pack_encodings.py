"""Packs OpenAI's rank files into rxllm/_encodings, so that tokens are counted without a network.

    python scripts/pack_encodings.py FOLDER

FOLDER holds cl100k_base.tiktoken and o200k_base.tiktoken, or what tiktoken keeps them as in its TIKTOKEN_CACHE_DIR.
Each file's SHA-256 is checked against the one that tiktoken states. What is written is every token in the order of its
rank, each behind one byte that holds its length, compressed with xz.
"""

import base64
import hashlib
import lzma
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "rxllm" / "_encodings"
URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
SHA256 = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}


def find(folder: Path, name: str) -> Path:
    """The rank file of an encoding in ``folder``, under its own name or tiktoken's: the SHA-1 of its address."""
    cached = hashlib.sha1(URL.format(name).encode(), usedforsecurity=False).hexdigest()
    for path in (folder / f"{name}.tiktoken", folder / cached):
        if path.is_file():
            return path
    raise SystemExit(f"{folder} has neither {name}.tiktoken nor {cached}")


def pack(ranks: bytes) -> bytes:
    """A rank file's tokens in the order of their ranks, packed."""
    pairs = (line.split() for line in ranks.splitlines() if line)
    tokens = {int(rank): base64.b64decode(token) for token, rank in pairs}
    if sorted(tokens) != list(range(len(tokens))):
        raise SystemExit("the ranks are not 0, 1, 2, ...: the place of a token cannot stand for its rank")
    plain = b"".join(bytes([len(tokens[rank])]) + tokens[rank] for rank in range(len(tokens)))
    return lzma.compress(plain, preset=9 | lzma.PRESET_EXTREME)


def main(folder: Path) -> None:
    """Packs both encodings."""
    for name, sha256 in SHA256.items():
        ranks = find(folder, name).read_bytes()
        if hashlib.sha256(ranks).hexdigest() != sha256:
            raise SystemExit(f"the rank file of {name} in {folder} is not the published one: its SHA-256 differs")
        packed = pack(ranks)
        (TARGET / f"{name}.xz").write_bytes(packed)
        print(f"{name}: {len(ranks):,} bytes packed into {len(packed):,}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
