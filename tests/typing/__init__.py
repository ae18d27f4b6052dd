"""What the public surface is typed as. Nothing here runs: mypy and pyright read it, both strictly."""
