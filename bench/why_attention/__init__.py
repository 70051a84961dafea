"""Why attention? An LSTM, an LSTM with attention and a Transformer on the same tasks."""
