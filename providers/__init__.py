"""The storage provider: spaces, catalogue, vault, audit log, history, and the drive, the one gate to a document.

Imports `auth` and `config`. Protocols import `providers.drive` and the model, nothing beneath it.
"""
