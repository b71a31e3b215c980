"""WebDAV (RFC 4918, classes 1, 2 and 3) over drives.

An *exchange* is one request with the drive of whoever asks and the path asked for; an *answer* is status, headers and
body. Each method is one function from exchange to answer; `errors` is the one table from what a drive refuses to what a
client is told. WsgiDAV carries five methods in; none of its own data paths is used. May import drives and the model,
never the catalogue, the vault, SQLAlchemy or cryptography.
"""
