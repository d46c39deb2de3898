"""Operations on workspaces, teams and model assignments; discovery; who receives which event; rebuilding from the log."""
