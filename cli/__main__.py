"""``python -m stanrovi_cli`` is ``stanrovi``."""

from stanrovi_cli import main

main()
