CREATE TABLE deployments (
  workspace_id UUID PRIMARY KEY REFERENCES workspaces(id) ON DELETE CASCADE,
  backend TEXT NOT NULL,
  desired TEXT NOT NULL DEFAULT 'running',
  generation INTEGER NOT NULL DEFAULT 1,
  observed_generation INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'pending',
  resource_id TEXT,
  url TEXT,
  image TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_attempt_at TIMESTAMPTZ,
  reason TEXT,
  message TEXT,
  since TIMESTAMPTZ NOT NULL DEFAULT now(),
  started_at TIMESTAMPTZ,
  claimed_until TIMESTAMPTZ,
  claimed_by UUID,
  CONSTRAINT deployments_desired_check CHECK (desired IN ('running', 'stopped', 'absent')),
  CONSTRAINT deployments_state_check CHECK (state IN (
    'pending', 'starting', 'running', 'stopping', 'stopped', 'failed', 'absent', 'unknown')),
  CONSTRAINT deployments_generation_check CHECK (generation >= 1 AND observed_generation BETWEEN 0 AND generation),
  CONSTRAINT deployments_attempts_check CHECK (attempts >= 0)
);

-- The generation that an agent's token was issued for, so that tokens of earlier ones can be revoked.
ALTER TABLE workspace_tokens ADD COLUMN generation INTEGER;
