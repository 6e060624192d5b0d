"""Bundles in the background (`Prefer: respond-async` on `POST [base]`): accepts them, processes each once, reports the result.

The body waits in S3; the job's item says for whom and how to process it. Whatever process dies, a transaction is done once or not
at all, and the job says which: the commit itself changes the job's state (`store.receipts`).
"""
