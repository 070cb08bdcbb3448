"""How often Lookout errs: measured on pictures and clips whose truth is known."""
