"""The public Python functions, one short file per command.

Each checks the request, calls its subject, and returns a result.
"""
