"""The operations of this server: from a request to its response."""
