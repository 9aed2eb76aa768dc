-- Times are whole milliseconds since 1970, UTC. Every table that names an item carries its server.

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    server_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    target TEXT NOT NULL,
    title TEXT NOT NULL,
    tier TEXT NOT NULL,
    tier_rank INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    stage TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_at INTEGER NOT NULL,
    is_held INTEGER NOT NULL DEFAULT 0,
    begun_at INTEGER,
    reason TEXT NOT NULL,
    reason_code TEXT NOT NULL DEFAULT '',
    fingerprint TEXT,
    source_ref TEXT,
    track_ref TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (server_id, source_id, target)
) STRICT;
CREATE INDEX jobs_due ON jobs (stage, tier_rank, added_at DESC, id) WHERE state IN ('queued', 'parked') AND is_held = 0;
CREATE INDEX jobs_next ON jobs (next_try_at) WHERE state IN ('queued', 'parked') AND is_held = 0;
CREATE INDEX jobs_held ON jobs (added_at DESC, source_id) WHERE is_held = 1;
CREATE INDEX jobs_begun ON jobs (begun_at) WHERE begun_at IS NOT NULL;
CREATE INDEX jobs_of_item ON jobs (item_id);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    item_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    handled_at INTEGER
) STRICT;
CREATE UNIQUE INDEX events_open ON events (server_id, kind, item_id) WHERE handled_at IS NULL;

CREATE TABLE identities (
    server_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    revision TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    PRIMARY KEY (server_id, source_id)
) STRICT;

CREATE TABLE transcripts (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    recognizer TEXT NOT NULL,
    model_revision TEXT NOT NULL,
    settings_hash TEXT NOT NULL,
    language TEXT,
    duration_ms INTEGER NOT NULL,
    is_complete INTEGER NOT NULL DEFAULT 0,
    UNIQUE (fingerprint, ordinal, recognizer, model_revision, settings_hash)
) STRICT;

CREATE TABLE windows (
    transcript_id INTEGER NOT NULL REFERENCES transcripts (id) ON DELETE CASCADE,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    segments TEXT NOT NULL,
    PRIMARY KEY (transcript_id, start_ms)
) STRICT;

CREATE TABLE sketches (
    fingerprint TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    sketch BLOB NOT NULL,
    PRIMARY KEY (fingerprint, ordinal)
) STRICT;
CREATE INDEX sketches_by_length ON sketches (duration_ms);

CREATE TABLE same_sounds (
    fingerprint TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    known_fingerprint TEXT NOT NULL,
    known_ordinal INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, ordinal)
) STRICT;

CREATE TABLE translations (
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    backend TEXT NOT NULL,
    model_revision TEXT NOT NULL,
    glossary TEXT NOT NULL,
    text TEXT NOT NULL,
    translated TEXT NOT NULL,
    PRIMARY KEY (text, source, target, backend, model_revision, glossary)
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    ref TEXT PRIMARY KEY,
    content BLOB NOT NULL
) STRICT;

CREATE TABLE deliveries (
    server_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    target TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    file_name TEXT NOT NULL,
    provenance TEXT NOT NULL,
    intended_at INTEGER NOT NULL,
    uploaded_at INTEGER,
    confirmed_at INTEGER,
    PRIMARY KEY (server_id, source_id, target)
) STRICT;

CREATE TABLE settled (
    fingerprint TEXT NOT NULL,
    target TEXT NOT NULL,
    settings_hash TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    settled_at INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, target, settings_hash)
) STRICT;

CREATE TABLE flags (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE speeds (
    way TEXT PRIMARY KEY,
    media_ms INTEGER NOT NULL,
    took_ms INTEGER NOT NULL
) STRICT;
