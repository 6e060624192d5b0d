"""Resources as plain dicts: reading, writing and checking them."""
