"""States and releases on disk: written whole or not at all, loaded only when their digests hold, kept while needed."""
