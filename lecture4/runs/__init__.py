"""What is done with finished runs, or many: predict, export, resume, sweep."""
