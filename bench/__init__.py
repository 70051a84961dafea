"""What eyeline's promises cost: `python -m bench.NAME`. JSON goes to bench/results/."""
