"""Console, files, processes, places of errors, and conf/."""
