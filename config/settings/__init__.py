"""What an installation is set up with: a typed schema, a TOML file, the environment.

A *setting* is a field of a section's dataclass in `config.settings.schema`, with a type, a default and a sentence. The
file, the variables, docs/SETTINGS.md and deploy/mellanrum.example.toml all derive from it: there is no second list.
"""

from config.settings.load import find_file, load
from config.settings.schema import Settings

__all__ = ["Settings", "find_file", "load"]
