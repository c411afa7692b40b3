"""The one hierarchy of errors that a user can cause, each with its exit code.

Library code raises these; only `dfercli.cli.app` turns them into one line on stderr and an exit
code. Anything else that escapes is a bug and keeps its traceback (exit code 1).
"""


class DferError(Exception):
    """Base of every error that a user can cause.

    Args:
        message: One line: what, where, got and expected.
        hint: The next step, if there is a useful one.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type["DferError"], tuple[str, str | None]]:
        """Pickle with the hint, so an error survives the way back from a worker process."""
        return type(self), (self.message, self.hint)


class ConfigError(DferError):
    """Wrong usage or configuration."""

    exit_code = 2


class DataError(DferError):
    """Data that cannot be used: a bad video, a broken list, a batch in which some item failed."""

    exit_code = 3


class TooLargeError(DataError):
    """A picture or video with more pixels than `--max-pixels` allows."""


class ChangedError(DataError):
    """A source that was written or replaced while it was read."""


class ArtifactError(DferError):
    """An artefact or weights that are missing, corrupt, incompatible or not writable."""

    exit_code = 4


class UnwritableError(ArtifactError):
    """The system refused to write: the disk is full, or others own the place."""


class ServiceError(DferError):
    """An outside service failed."""

    exit_code = 5
