"""A shop: orders with live status, balances that change with them, on every page at once."""
