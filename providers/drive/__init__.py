"""The one gate: every operation that touches a document resolves, decides, acts and records here.

`Drive` is what protocols hold. Beneath it: places (from a path to what stands there), sight (what one principal
sees), guards (locks and preconditions), and a module for each family of operations.
"""

from providers.drive.drive import Drive

__all__ = ["Drive"]
