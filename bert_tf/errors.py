"""The one exception that bad input raises: its text says what is wrong and what to do about it."""

import errno

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""`OSError.errno` of a disk or quota that is used up."""


class BertError(ValueError):
    """Something the caller passed cannot be used; the message says what, why and what to type.

    The command line prints the message of a `BertError` alone, without a traceback, and exits
    with status 2. Every exception that the library raises on purpose is one of these.
    """
