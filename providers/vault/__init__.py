"""The vault: where sealed bytes live. It knows nothing of names, people, rights or SQL.

- chunk: a piece of content, cut where the content itself says so; the unit that is stored once.
- record: a chunk or manifest as stored: a header in the clear, then sealed bytes; its cid, a keyed digest, names it.
- pack: a file of records of one space, written once from its beginning to its end.
- manifest: what a content consists of: leaves that list chunks, a root that lists leaves; records like any other.
- content: the short reference that a catalogue keeps of one version's bytes.
- draft: a content being changed at random places, before it becomes a version.
- store: keeps packs. A local folder, memory, or an object store keep the same promise.

All formats stand in docs/FORMAT.md. Catalogue lookups come in as functions. Imports `config` alone.
"""
