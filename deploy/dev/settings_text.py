"""Write docs/SETTINGS.md and deploy/mellanrum.example.toml from the schema: `make settings`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from config.settings.text import documentation, sample  # noqa: E402

(ROOT / "docs" / "SETTINGS.md").write_text(documentation(), encoding="utf-8")
(ROOT / "deploy" / "mellanrum.example.toml").write_text(sample(), encoding="utf-8")
