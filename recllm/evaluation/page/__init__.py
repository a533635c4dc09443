"""The report as a self-contained HTML page: what its sections show, their drawings, and how they are laid out."""
