-- What the daemon knows of a library between its passes, what it read of tracks, and how far each delivery got.

CREATE TABLE items (
    row INTEGER PRIMARY KEY,
    server_id TEXT NOT NULL,
    id TEXT NOT NULL,
    library TEXT NOT NULL,
    etag TEXT NOT NULL,
    basis TEXT NOT NULL,
    name TEXT NOT NULL,
    series_id TEXT NOT NULL DEFAULT '',
    season INTEGER,
    episode INTEGER,
    look_again INTEGER NOT NULL DEFAULT 0,
    missed_since INTEGER,
    UNIQUE (server_id, id)
) STRICT;
CREATE INDEX items_of_library ON items (server_id, library);
CREATE INDEX items_of_series ON items (server_id, series_id, season, episode) WHERE series_id <> '';

CREATE TABLE track_facts (
    server_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    track TEXT NOT NULL,
    revision TEXT NOT NULL,
    language TEXT,
    cues_hash TEXT NOT NULL DEFAULT '',
    misfit TEXT NOT NULL DEFAULT '',
    is_compared INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (server_id, source_id, track)
) STRICT, WITHOUT ROWID;

CREATE TABLE watched (
    server_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    watched_at INTEGER NOT NULL,
    PRIMARY KEY (server_id, item_id)
) STRICT, WITHOUT ROWID;

ALTER TABLE identities ADD COLUMN path TEXT NOT NULL DEFAULT '';
CREATE INDEX identities_at ON identities (server_id, path, size_bytes);
CREATE INDEX settled_by_media ON settled (fingerprint);

ALTER TABLE deliveries ADD COLUMN item_id TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN made_for TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN cues_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN grade TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN track_path TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN previous_ref TEXT;
ALTER TABLE deliveries ADD COLUMN state TEXT NOT NULL DEFAULT 'intended';
ALTER TABLE deliveries ADD COLUMN missing_since INTEGER;
ALTER TABLE deliveries ADD COLUMN is_asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN missing_passes INTEGER NOT NULL DEFAULT 0;
UPDATE deliveries SET state = CASE WHEN confirmed_at IS NOT NULL THEN 'confirmed' WHEN uploaded_at IS NOT NULL THEN 'uploaded' ELSE 'intended' END;
CREATE INDEX deliveries_by_cues ON deliveries (cues_hash) WHERE cues_hash <> '';
CREATE INDEX deliveries_missing ON deliveries (server_id) WHERE state = 'missing';

ALTER TABLE jobs ADD COLUMN ready_at INTEGER;
ALTER TABLE jobs ADD COLUMN revivals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN asked TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_of_source ON jobs (server_id, source_id);
UPDATE jobs SET tier_rank = CASE tier WHEN 'asked' THEN 0 WHEN 'new' THEN 3 ELSE 4 END;

ALTER TABLE events ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN looks INTEGER NOT NULL DEFAULT 0;
CREATE INDEX events_due ON events (id) WHERE handled_at IS NULL;
