"""What the page of one workspace offers: its buttons, dialogs and tokens."""
