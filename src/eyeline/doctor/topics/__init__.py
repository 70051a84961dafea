"""How candidates of each kind are called: from signature to questions and answers."""
