"""NUTS of Stan's engines."""
