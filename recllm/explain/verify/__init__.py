"""Whether words say only what the evidence holds: a closed language, read claim by claim."""
