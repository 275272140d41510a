"""Makes what the tiny GPT ships: its text, its tokenizer and its weights."""
