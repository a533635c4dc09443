"""The ranking head, and the rules after it."""
