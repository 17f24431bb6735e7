"""A console on which the first loss is not 400 lines down."""

import logging

FILE_ONLY = (
    "System environment:",
    "Config:",
    "Hooks will be executed in the following order",
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
)
"""How MMEngine's messages begin that are for the log file: what one looks up, and advice to its own hooks."""


class FileOnly(logging.Filter):
    """Leaves out what :data:`FILE_ONLY` names; everything else passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the console shows the message."""
        return not record.getMessage().lstrip("\n -").startswith(FILE_ONLY)


def quieten(logger: logging.Logger) -> None:
    """Keep a logger's long preliminaries off the console, where it has a file that they go to.

    Args:
        logger: MMEngine's, with its handlers.
    """
    if any(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(FileOnly())


def log_file(logger: logging.Logger) -> str | None:
    """The path of the file that a logger writes, or ``None``."""
    files = [h.baseFilename for h in logger.handlers if isinstance(h, logging.FileHandler)]
    return files[0] if files else None
