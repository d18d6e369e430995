"""`TemporaryFolder`: a folder among the system's temporary files that no crash leaves for good."""

from __future__ import annotations

import os
import tempfile
import weakref

from bert_tf.files.whole import make_temporary, remove_scratch


class TemporaryFolder:
    """A folder for this user among the system's temporary files; `name` is its path.

    `cleanup` or the end of the process removes it; what killed processes left goes first.

    Args:
        kind: of the content, for its name.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, kind: str) -> None:
        at = os.path.join(tempfile.gettempdir(), f"bert_tf-{kind}")
        self.name, descriptor = make_temporary(at, folder=True)
        os.chmod(self.name, 0o700)
        self.cleanup = weakref.finalize(self, remove_scratch, self.name, descriptor)
