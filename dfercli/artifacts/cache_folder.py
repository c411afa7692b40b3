"""Where caches lie: weights, features of frames, answers of language models."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The folder `name` in `DFER_CACHE`, else in the user's cache folder of `dfer`."""
    from platformdirs import user_cache_path  # not needed by a worker that finds faces

    chosen = os.environ.get("DFER_CACHE")
    root = Path(chosen).expanduser() if chosen else user_cache_path("dfer")
    return root / name
