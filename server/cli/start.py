"""The console script: what a command needs is brought into memory, and then it runs.

To import it makes some hundred thousand objects, of which none is garbage before all stand. Python's collector looks
through them again and again meanwhile, and once more at the end: a third of what a small command took.
"""

from __future__ import annotations

import gc


def main() -> int:
    """Run one command; return its exit code."""
    gc.disable()
    from server.cli.main import main as run

    gc.freeze()
    gc.enable()
    return run()
