"""The embedded default: all parts as processes of one machine, under one supervisor."""
