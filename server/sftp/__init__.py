"""SFTP over drives.

- door: whoever carries the bytes of one channel: a connection of SSH.
- engine: what speaks SFTP on it, without sockets or threads.

Imports the drive and the model, never what lies beneath them.
"""
