"""Files on Google Drive, by gdown: through the page that asks to confirm, resumed, and bounded.

gdown waits for ever where a server drips, and asks again and again where each page leads to another
one. A watch ends it where nothing comes.
"""

import glob
import re
import threading
import time
from pathlib import Path

from dfercli.artifacts.bounded_http import DownloadError, FileTooLargeError, OnBytes
from dfercli.artifacts.network import CONNECT_SECONDS, blamed

STALL_SECONDS = 60.0
"""It ends where half a megabyte, which gdown takes at a time, needs longer than this."""
RETRIES = 3
LONGEST_REASON = 200
PLACE = "https://drive.google.com"


def download_from_drive(
    file_id: str, target: Path, *, most_bytes: int, on_bytes: OnBytes | None = None
) -> None:
    """Write a file that lies on Drive to `target`; go on where an earlier download ended.

    Args:
        file_id: The file's ID.
        target: The file. Its part lies beside it until it is whole.
        most_bytes: More than the file has; the download ends there.
        on_bytes: Called with the bytes that are there, and with those of the whole file where
            Drive says so.

    Raises:
        FileTooLargeError: it is larger than `most_bytes`.
        DownloadError: Drive sent a page in place of the file, or it stalled or broke off.
    """
    import gdown
    from gdown.exceptions import DownloadCancelled, FileURLRetrievalError
    from requests import exceptions

    with _Watch() as watch:

        def on_piece(received: int, total: int | None) -> None:
            watch.heard()
            if max(received, total or 0) > most_bytes:
                raise FileTooLargeError(f"the file has more than {most_bytes} bytes")
            if on_bytes is not None:
                on_bytes(received, total)

        try:
            gdown.download(
                id=file_id,
                output=str(target),
                quiet=True,
                use_cookies=False,
                resume=True,
                progress=on_piece,
                timeout=(CONNECT_SECONDS, STALL_SECONDS),
                retries=RETRIES,
                cancel=watch.cancel,
            )
        except FileTooLargeError:
            for part in target.parent.glob(f"{glob.escape(target.name)}*.part"):
                part.unlink()  # nothing would go on with it
            raise
        except FileURLRetrievalError as error:
            raise DownloadError(f"Drive sent a page, no file: {_reason(error)}") from error
        except DownloadCancelled as error:
            raise DownloadError(blamed(f"it stalled for {STALL_SECONDS:g} s", PLACE)) from error
        except exceptions.ConnectionError as error:
            raise DownloadError(blamed(_no_connection(error), PLACE)) from error
        except Exception as error:  # gdown lets those of requests, bs4 and its own through
            raise DownloadError(_reason(error) or type(error).__name__) from error


class _Watch:
    """Sets `cancel` once nothing was heard for `STALL_SECONDS`."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self._over = threading.Event()
        self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def heard(self) -> None:
        self._heard = time.monotonic()

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(min(1.0, STALL_SECONDS / 4)):
            if time.monotonic() - self._heard > STALL_SECONDS:
                self.cancel.set()


def _no_connection(error: Exception) -> str:
    """Why no connection came about, without the layers of clients around the system's words."""
    failed = getattr(error.args[0] if error.args else None, "reason", error)
    inner = getattr(failed, "original_error", failed)
    return str(inner).rpartition(": ")[2][:LONGEST_REASON]


def _reason(error: Exception) -> str:
    """The message of gdown in one line, without the advice that gdown adds to Drive's sentence."""
    text = str(error)
    text = text.rpartition("Failed to retrieve file url:")[2].partition("You may still be able")[0]
    text = re.sub(r"<[^>]*>", "", text)
    return " ".join(text.split())[:LONGEST_REASON]
