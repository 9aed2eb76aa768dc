-- Which claim of a job is the latest, how often the process died while working at it, and indexes for a long queue.

ALTER TABLE jobs ADD COLUMN claims INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN windows_at_crash INTEGER NOT NULL DEFAULT 0;

DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (stage, tier_rank, added_at DESC, id, next_try_at, state, is_held) WHERE state IN ('queued', 'parked') AND is_held = 0;
CREATE INDEX jobs_parked ON jobs (reason_code, next_try_at) WHERE state = 'parked';
CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
CREATE INDEX watched_at ON watched (watched_at);
