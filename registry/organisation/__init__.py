"""Operations on workspaces, teams and model assignments; discovery; audiences of events; rebuilding from the log."""
