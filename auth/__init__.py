"""Who is asking, and what may they do: principals, credentials, roles, throttling, the keyring.

Imports `config` alone. It defines the `Recorder` of its own events; who owns the audit log hands one in.
"""
