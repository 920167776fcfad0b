"""Every error stanrovi raises on purpose, under one base class.

A message names the cause, the value received where there is one, and the
cure. ``exit_code`` is what the command line returns: 2 for a request that
cannot be meant (a wrong name, path or option), 1 for work that failed.
"""


class StanroviError(Exception):
    """Base class of every deliberate error."""

    exit_code = 1


class UsageError(StanroviError):
    """The request itself is wrong: an unknown name, a missing file, a bad option."""

    exit_code = 2


class OutputError(UsageError):
    """An output path exists already or cannot be written."""


class ModelError(StanroviError):
    """The Stan program was rejected, or no engine here can run it."""


class DataError(StanroviError):
    """The data do not fit the program's data block."""


class DensityError(StanroviError):
    """The log density cannot be used: NaN or throwing everywhere, unbounded, improper."""


class SamplerError(StanroviError):
    """A run of NUTS, or of another method of CmdStan, failed."""


class DrawsError(StanroviError):
    """A set of draws cannot be read, or cannot be compared with another."""
