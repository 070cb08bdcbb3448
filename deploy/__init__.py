"""How Lookout is put to work."""
