"""Where a stream stands that is published in one place and observed in others: what ``rxllm.stores`` is made of."""
