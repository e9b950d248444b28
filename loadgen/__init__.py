"""Who drives, and who recounts: the audience, the open-loop producers, the ledger, trace replay, the auditor.
The auditor shares no code with the decoder and the fold."""
