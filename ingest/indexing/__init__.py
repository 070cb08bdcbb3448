"""Files searched for faces as if a camera had recorded them: scan, plan, decode in child processes, hand over crops.

What decodes a stranger's file runs in child processes that are not told where the database is (`child`); the process
that is, plans the work and follows it (`indexer`).
"""
