"""Holding and letting go: what may be erased, who must agree, how it goes, and when its bytes have left the packs.

By default everything is kept. An erasure takes the content of versions away and leaves their MACs as tombstones; the
chunks that nothing else refers to are condemned, and a later sweep writes the packs anew without them. A space, or a
customer, is erased by destroying its key.
"""
