"""What test processes need that are started by others."""

import signal


def heed_ctrl_c() -> None:
    """Lets a child be stopped with SIGINT; for `preexec_fn`.

    A shell without job control starts background jobs with SIGINT ignored, children inherit that,
    and Python then installs no handler.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
