"""`eyeline drill`: questions about attention. Predict, run, compare."""
