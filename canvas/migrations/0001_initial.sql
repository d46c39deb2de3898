CREATE TABLE canvas_layouts (
  workspace_id UUID REFERENCES workspaces(id) ON DELETE CASCADE,
  x FLOAT NOT NULL DEFAULT 0,
  y FLOAT NOT NULL DEFAULT 0,
  collapsed BOOLEAN NOT NULL DEFAULT false,
  PRIMARY KEY (workspace_id)
);

-- A removed workspace keeps its row, so ON DELETE CASCADE alone would not delete its layout.
CREATE FUNCTION canvas_layouts_drop_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM canvas_layouts WHERE workspace_id = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER canvas_layouts_drop_removed AFTER UPDATE OF status ON workspaces
  FOR EACH ROW WHEN (NEW.status = 'removed') EXECUTE FUNCTION canvas_layouts_drop_removed();

CREATE TABLE canvas_viewport (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  x FLOAT NOT NULL DEFAULT 0,
  y FLOAT NOT NULL DEFAULT 0,
  zoom FLOAT NOT NULL DEFAULT 1,
  saved_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
-- At most one row, the target of an upsert.
CREATE UNIQUE INDEX canvas_viewport_single_row ON canvas_viewport ((true));
