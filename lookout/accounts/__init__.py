"""Who may do what: users, passwords, sessions, tokens, rights."""
