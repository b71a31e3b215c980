"""`python -m config.settings --docs | --sample`: print what derives from the schema."""

from __future__ import annotations

import sys

from config.settings.text import documentation, sample

if __name__ == "__main__":
    makers = {"--docs": documentation, "--sample": sample}
    if len(sys.argv) != 2 or sys.argv[1] not in makers:
        sys.exit(f"usage: python -m config.settings {' | '.join(makers)}")
    sys.stdout.write(makers[sys.argv[1]]())
