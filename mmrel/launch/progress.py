"""How far a tool is, and when it will be done."""

import sys
from collections.abc import Callable

from mmengine import ProgressBar
from mmengine.dist import get_rank


def progress_bar() -> Callable[[int, int], None]:
    """A bar on stderr with the time that is left; of several processes, the first one's alone.

    Returns:
        What is to be called with the number of steps done and of all; with 0 done a new bar begins.
    """
    bars: list[ProgressBar] = []

    def progress(done: int, count: int) -> None:
        if get_rank() != 0:
            return
        if not bars or done < bars[-1].completed:
            bars.append(ProgressBar(count, file=sys.stderr))
        if done > bars[-1].completed:
            bars[-1].update(done - bars[-1].completed)
        if done == count:
            print(file=sys.stderr)
            bars.clear()

    return progress
