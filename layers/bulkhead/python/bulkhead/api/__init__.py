"""HTTP without a server: requests, the Router that answers them, responses. HTTP, bundle entries and jobs all come in here."""
