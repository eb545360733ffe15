"""Things to take in hand in a notebook: controls around the pictures of `plots`; nothing is computed here."""
