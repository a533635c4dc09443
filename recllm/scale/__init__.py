"""The same work on many processes or many machines."""
