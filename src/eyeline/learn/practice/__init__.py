"""`eyeline practice`: attention, written by oneself, in 28 exercises."""
