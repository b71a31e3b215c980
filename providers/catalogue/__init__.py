"""The catalogue: which node stands where, under which name, in which version, at which change.

It never overwrites: rows hold during an interval of changes. It knows nodes, sealed names and rows; it knows nothing
of who may see them (the drive decides), nor of bytes (the vault keeps them).
"""
