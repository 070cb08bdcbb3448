"""Another embedder: what is stored is embedded anew by it, then it comes into use at once."""
