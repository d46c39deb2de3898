"""Secret values: sealing, storage, masking in reports, key rotation."""
