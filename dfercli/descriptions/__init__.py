"""Class texts, the LLM client and its cache."""
