"""Secret values: sealing, storage, masking in what agents send, key rotation."""
