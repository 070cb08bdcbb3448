"""What expires, and how it goes: one module a kind of thing."""
