"""The one exception that bad input raises: its text says what is wrong and what to do about it."""

import errno
import os
import sys

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""`OSError.errno` of a disk or quota that is used up."""


class BertError(ValueError):
    """Something the caller passed cannot be used; the message says what, why and what to type.

    The command line prints the message of a `BertError` alone, without a traceback, and exits
    with status 2. Every exception that the library raises on purpose is one of these.
    """


def not_installed(cause: ModuleNotFoundError) -> str:
    """The message on a requirement that is not installed: says how to install all of them."""
    return (
        f"the module {cause.name} is not installed for {sys.executable}. In a checkout, run make: "
        f"it installs all that is needed in .venv; then use .venv/bin/python. Elsewhere, run pip "
        f"install with the folder of the checkout."
    )


def missing_module(cause: ModuleNotFoundError) -> BaseException:
    """What `import bert_tf` raises if a requirement is not installed.

    In a script of the checkout and in `python -m bert_tf` it ends the program, with the message.
    """
    script = os.path.abspath(sys.argv[0])
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if sys.argv[0] == "-m" or (os.path.isfile(script) and os.path.dirname(script) == checkout):
        print(f"bert_tf: error: {not_installed(cause)}", file=sys.stderr)
        return SystemExit(2)
    return ImportError(not_installed(cause))
