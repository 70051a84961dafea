"""Learning by doing: `eyeline practice` (write attention) and `eyeline drill` (interviews)."""
