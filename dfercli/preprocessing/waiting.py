"""Count the bytes of pictures that wait until their crops can be cut."""

import numpy as np
from numpy.typing import NDArray


class Waiting:
    """Counts the bytes of pictures between two threads: one finds faces, the other cuts crops.

    Args:
        max_bytes: The bound.
        looks_ahead: The number of pictures that always wait, once that many have come.

    Attributes:
        is_too_much: Whether the bound was exceeded; set once, by the first of the two threads.
    """

    def __init__(self, max_bytes: int, looks_ahead: int) -> None:
        self._max_bytes = max_bytes
        self._looks_ahead = looks_ahead
        self.is_too_much = False
        self._num_pictures = self._came = 0  # by the one thread
        self._gone = 0  # by the other

    def comes(self, image: NDArray[np.uint8]) -> bool:
        """Count a picture; tell whether there is room for it."""
        self._num_pictures += 1
        self._came += image.nbytes
        will_wait = self._looks_ahead * image.nbytes if self._num_pictures > 1 else 0
        if max(will_wait, self._came - self._gone) > self._max_bytes:
            self.is_too_much = True
        return not self.is_too_much

    def goes(self, image: NDArray[np.uint8]) -> None:
        """A picture no longer waits."""
        self._gone += image.nbytes
