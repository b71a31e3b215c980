"""What an installation is set up with: settings, the database connection, migrations, logging.

The lowest of the five packages. It imports none of the others, and knows nothing of people or documents.
"""
