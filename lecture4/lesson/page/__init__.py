"""The lecture's page, and a page that looks inside a net: files that need no network."""
