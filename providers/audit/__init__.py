"""The audit log: who did what, in a form that each party can verify by itself.

Nouns: an *event* is one line; a *log* is the supplier's whole account of a space, or of the installation; a *stream*
is the account that one party gets of the same events; each has its own numbers, its own RFC 6962 tree and its own
*checkpoints* (a signed size and root). A *leaf* is what the tree hashes: the event with every personal field replaced
by a salted *commitment*; an *opening* (salt, value) shows what a commitment stands for, and may be erased. A *bundle*
is a log in one file, to be verified without a server. The *journal* holds reads until they are numbered.

Imports auth, config and the tables; never the catalogue, the vault or a drive.
"""
