"""HTTP without a server: requests, the Router that answers them, responses. HTTP, entries of bundles and jobs all come in here."""
