"""Everything that is a sum over users, and what is derived from such sums.

What counting channels know is `Counts`: whole numbers that can be added and taken away, in any order, exactly. Weights
between items, popularity and its course in time are functions of them.
"""
