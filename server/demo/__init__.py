"""A world to try: an accounting firm and its customers, with people, rights and documents in several versions.

`world` says who and what there is, `papers` and `forms` make the documents, `plant` puts all of it into an
installation, and `show` tells how to get in. Who and what is the same each time; secrets are random.
"""
