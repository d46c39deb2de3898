"""Secret values: sealed, stored, masked in reports, sealed again with a new key."""
