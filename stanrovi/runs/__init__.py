"""What a user starts: a Stan model in, draws out."""
