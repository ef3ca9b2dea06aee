"""What the product is about; nothing here knows PostgreSQL, HTTP or WebSockets."""
