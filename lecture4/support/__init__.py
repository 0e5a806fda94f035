"""Console, files, processes, places: small, each named for one thing."""
