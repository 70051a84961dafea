"""Views of a reading. Each takes a `Reading` (or a part of one) and computes nothing."""
