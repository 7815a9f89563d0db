"""Packs: their format, writing, reading, recovery; and the block store made of them."""
