"""The operations of this server: each takes a Request and returns a Response."""
