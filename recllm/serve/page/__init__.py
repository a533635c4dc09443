"""What people see in a browser: a page that recommends, and a dashboard of how that goes."""
