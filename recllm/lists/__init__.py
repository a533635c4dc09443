"""From what is asked for to ranked lists, and what comes back."""
