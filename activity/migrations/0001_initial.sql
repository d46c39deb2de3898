CREATE TABLE structure_events (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  seq BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
  event_type TEXT NOT NULL,
  workspace_id UUID,
  agent_id UUID,
  target_id UUID,
  payload JSONB,
  actor TEXT NOT NULL DEFAULT 'sql',
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  CONSTRAINT structure_events_event_type_check CHECK (event_type IN (
    'WORKSPACE_PROVISIONING', 'WORKSPACE_PROVISION_FAILED', 'WORKSPACE_ONLINE', 'WORKSPACE_OFFLINE',
    'WORKSPACE_DEGRADED', 'WORKSPACE_PAUSED', 'WORKSPACE_UPDATED', 'WORKSPACE_REMOVED', 'WORKSPACE_MOVED',
    'WORKSPACE_EXPANDED', 'WORKSPACE_COLLAPSED', 'AGENT_ASSIGNED', 'AGENT_REMOVED', 'AGENT_REPLACED',
    'AGENT_MOVED', 'AGENT_CARD_UPDATED'))
);
-- One workspace's timeline, newest first, without touching the others' events.
CREATE INDEX structure_events_workspace_id_seq_idx ON structure_events (workspace_id, seq DESC);

-- Append-only for everyone: the ORM, psql, the admin. ENABLE ALWAYS, so that a session in replica mode
-- is refused as well.
CREATE FUNCTION structure_events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'structure_events is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER structure_events_append_only
  BEFORE UPDATE OR DELETE OR TRUNCATE ON structure_events
  FOR EACH STATEMENT EXECUTE FUNCTION structure_events_refuse_change();
ALTER TABLE structure_events ENABLE ALWAYS TRIGGER structure_events_append_only;

-- The foreign key to workspaces is added by registry, which knows them.
CREATE TABLE activity_logs (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  workspace_id UUID NOT NULL,
  activity_type TEXT NOT NULL,
  source_id UUID,
  target_id UUID,
  method TEXT,
  summary TEXT,
  request_body JSONB,
  response_body JSONB,
  duration_ms INTEGER,
  status TEXT NOT NULL DEFAULT 'ok',
  error_detail TEXT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  CONSTRAINT activity_logs_activity_type_check CHECK (activity_type IN (
    'a2a_send', 'a2a_receive', 'task_update', 'agent_log', 'error', 'skill_promotion', 'memory_write')),
  CONSTRAINT activity_logs_status_check CHECK (status IN ('ok', 'error', 'timeout'))
);
CREATE INDEX activity_logs_workspace_id_activity_type_created_at_idx
  ON activity_logs (workspace_id, activity_type, created_at DESC);
CREATE INDEX activity_logs_created_at_idx ON activity_logs (created_at);
