"""HiGHS, without a word on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import highspy


def quiet_highs() -> highspy.Highs:
    """A new solver on one thread that prints nothing.

    highspy 1.16 prints a banner to standard output while the first solver of a process is made, before it can be told
    not to (`enableCallbacks`, called by its constructor); a `--json` line must not follow one. The override can go
    once `highspy.Highs()` prints nothing.
    """
    # A sixth of a second to import, and only a plan needs it.
    import highspy

    class Quiet(highspy.Highs):
        def enableCallbacks(self) -> None:  # noqa: N802
            self.silent()
            super().enableCallbacks()  # type: ignore[no-untyped-call]

    highs: highspy.Highs = Quiet()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    return highs
