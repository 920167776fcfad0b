"""What a finished fit can tell of its own errors, without a reference."""
