"""HTTP: routes, who may ask for what, limits, and errors as one sentence with a code."""
