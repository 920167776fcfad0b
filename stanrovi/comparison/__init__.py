"""A comparison as a user sees it: rows, JSON, HTML, a folder on disk."""
