"""The pages that people use: made here, with htmx for what changes on them; a module a noun, as in `api`."""
