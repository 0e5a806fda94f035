"""Write it yourself: cases to check formulas on, a catalogue of mistakes, solved files."""
