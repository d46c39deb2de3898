CREATE TABLE workspaces (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  name TEXT NOT NULL,
  role TEXT,
  tier INTEGER NOT NULL DEFAULT 1,
  status TEXT NOT NULL DEFAULT 'provisioning',
  source_bundle_id TEXT,
  agent_card JSONB,
  url TEXT,
  parent_id UUID REFERENCES workspaces(id),
  forwarded_to UUID REFERENCES workspaces(id),
  last_heartbeat_at TIMESTAMPTZ,
  last_error_rate FLOAT NOT NULL DEFAULT 0,
  last_sample_error TEXT,
  active_tasks INTEGER NOT NULL DEFAULT 0,
  uptime_seconds INTEGER NOT NULL DEFAULT 0,
  current_task TEXT,
  runtime TEXT NOT NULL DEFAULT 'langgraph',
  lease_expires_at TIMESTAMPTZ,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  CONSTRAINT workspaces_name_check CHECK (name <> ''),
  CONSTRAINT workspaces_tier_check CHECK (tier BETWEEN 1 AND 4),
  CONSTRAINT workspaces_status_check CHECK (status IN (
    'provisioning', 'online', 'degraded', 'offline', 'failed', 'paused', 'removed')),
  CONSTRAINT workspaces_parent_id_check CHECK (parent_id <> id)
) WITH (fillfactor = 80); -- heartbeats rewrite rows in place

CREATE INDEX workspaces_parent_id_idx ON workspaces (parent_id) WHERE status <> 'removed';
-- The liveness sweep: leases that can run out, soonest first.
CREATE INDEX workspaces_lease_expires_at_idx ON workspaces (lease_expires_at)
  WHERE status IN ('online', 'degraded', 'provisioning');
CREATE INDEX workspaces_created_at_id_idx ON workspaces (created_at, id) WHERE status <> 'removed';

-- Removed stays removed: whatever races, nothing brings a workspace back.
CREATE FUNCTION workspaces_refuse_resurrection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'workspace % is removed and stays so', OLD.id USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER workspaces_removed_is_final BEFORE UPDATE OF status ON workspaces
  FOR EACH ROW WHEN (OLD.status = 'removed' AND NEW.status <> 'removed')
  EXECUTE FUNCTION workspaces_refuse_resurrection();

-- The hierarchy has no cycles, not even when two moves race: one move at a time (the lock), and the check
-- runs as a statement of its own after it, so it sees what the other one committed.
-- A new row is nobody's ancestor, so only changes of parent need it.
CREATE FUNCTION workspaces_refuse_cycle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(x'4D4F4C02'::int);
  IF EXISTS (
    WITH RECURSIVE ancestors AS (
      SELECT NEW.parent_id AS id
      UNION
      SELECT w.parent_id FROM workspaces w JOIN ancestors a ON w.id = a.id WHERE w.parent_id IS NOT NULL
    ) SELECT 1 FROM ancestors WHERE id = NEW.id
  ) THEN
    RAISE EXCEPTION 'workspace % would become its own ancestor', NEW.id USING ERRCODE = 'check_violation',
      CONSTRAINT = 'workspaces_no_cycle';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER workspaces_no_cycle AFTER UPDATE OF parent_id ON workspaces
  FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION workspaces_refuse_cycle();

CREATE TABLE agents (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  workspace_id UUID NOT NULL REFERENCES workspaces(id),
  model TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'active',
  removed_at TIMESTAMPTZ,
  removal_reason TEXT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  CONSTRAINT agents_status_check CHECK (status IN ('active', 'removed'))
);
CREATE UNIQUE INDEX agents_one_active_per_workspace ON agents (workspace_id) WHERE status = 'active';
CREATE INDEX agents_workspace_id_created_at_idx ON agents (workspace_id, created_at DESC);

CREATE TABLE workspace_secrets (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  workspace_id UUID NOT NULL REFERENCES workspaces(id),
  key TEXT NOT NULL,
  encrypted_value BYTEA NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  UNIQUE (workspace_id, key),
  CONSTRAINT workspace_secrets_key_check CHECK (key ~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$')
);
CREATE TABLE global_secrets (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  key TEXT NOT NULL UNIQUE,
  encrypted_value BYTEA NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  CONSTRAINT global_secrets_key_check CHECK (key ~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$')
);

CREATE TABLE workspace_tokens (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  workspace_id UUID NOT NULL REFERENCES workspaces(id),
  kind TEXT NOT NULL,
  prefix TEXT NOT NULL UNIQUE,
  hash BYTEA NOT NULL,
  label TEXT NOT NULL DEFAULT '',
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  last_used_at TIMESTAMPTZ,
  expires_at TIMESTAMPTZ,
  revoked_at TIMESTAMPTZ,
  CONSTRAINT workspace_tokens_kind_check CHECK (kind IN ('agent', 'enrolment'))
);
CREATE INDEX workspace_tokens_workspace_id_idx ON workspace_tokens (workspace_id);
CREATE TABLE operator_tokens (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id INTEGER NOT NULL REFERENCES auth_user(id) ON DELETE CASCADE,
  prefix TEXT NOT NULL UNIQUE,
  hash BYTEA NOT NULL,
  label TEXT NOT NULL DEFAULT '',
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  last_used_at TIMESTAMPTZ,
  expires_at TIMESTAMPTZ,
  revoked_at TIMESTAMPTZ
);
CREATE INDEX operator_tokens_user_id_idx ON operator_tokens (user_id);

CREATE TABLE loop_ticks (
  name TEXT PRIMARY KEY,
  since TIMESTAMPTZ NOT NULL,
  ticked_at TIMESTAMPTZ NOT NULL,
  detail JSONB NOT NULL DEFAULT '{}'
);

ALTER TABLE activity_logs ADD CONSTRAINT activity_logs_workspace_id_fkey
  FOREIGN KEY (workspace_id) REFERENCES workspaces(id) ON DELETE CASCADE;
