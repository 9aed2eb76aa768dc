-- The tables and indexes after all migrations, by name; column order is that of the migrations.
-- Generated: python -m fluxcaption.storage.schema > daemon/fluxcaption/storage/schema.sql
-- Times are whole milliseconds since 1970, UTC. Ids of items and media sources are those of the row's server.

CREATE TABLE deliveries (
    server_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    target TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    file_name TEXT NOT NULL,
    details TEXT NOT NULL,
    intended_at INTEGER NOT NULL,
    uploaded_at INTEGER,
    confirmed_at INTEGER,
    item_id TEXT NOT NULL DEFAULT '',
    title TEXT NOT NULL DEFAULT '',
    fingerprint TEXT NOT NULL DEFAULT '',
    media_revision TEXT NOT NULL DEFAULT '',
    cues_hash TEXT NOT NULL DEFAULT '',
    provenance TEXT NOT NULL DEFAULT '',
    track_path TEXT NOT NULL DEFAULT '',
    previous_ref TEXT,
    state TEXT NOT NULL DEFAULT 'intended',
    missing_since INTEGER,
    is_requested INTEGER NOT NULL DEFAULT 0,
    missing_scans INTEGER NOT NULL DEFAULT 0,
    sent_at INTEGER,
    previous TEXT NOT NULL DEFAULT '',
    step TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (server_id, source_id, target)
) STRICT;
CREATE INDEX deliveries_by_cues ON deliveries (cues_hash)
    WHERE cues_hash <> '';
CREATE INDEX deliveries_of_item ON deliveries (server_id, item_id);

CREATE TABLE documents (
    ref TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (ref)
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    item_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    handled_at INTEGER,
    due_at INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX events_due ON events (id)
    WHERE handled_at IS NULL;
CREATE INDEX events_of_item ON events (server_id, kind, item_id);
CREATE UNIQUE INDEX events_open ON events (server_id, kind, item_id)
    WHERE handled_at IS NULL;

CREATE TABLE identities (
    server_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    revision TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    path TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (server_id, source_id)
) STRICT;
CREATE INDEX identities_at ON identities (server_id, path, size_bytes);

CREATE TABLE items (
    row INTEGER PRIMARY KEY,
    server_id TEXT NOT NULL,
    id TEXT NOT NULL,
    library TEXT NOT NULL,
    etag TEXT NOT NULL,
    decision_inputs_hash TEXT NOT NULL,
    name TEXT NOT NULL,
    series_id TEXT NOT NULL DEFAULT '',
    season INTEGER,
    episode INTEGER,
    needs_reread INTEGER NOT NULL DEFAULT 0,
    missed_since INTEGER,
    actions TEXT,
    titles INTEGER NOT NULL DEFAULT 0,
    listen_ms INTEGER NOT NULL DEFAULT 0,
    added_at INTEGER NOT NULL DEFAULT 0,
    UNIQUE (server_id, id)
) STRICT;
CREATE INDEX items_of_series ON items (server_id, series_id, season, episode)
    WHERE series_id <> '';

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    server_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    target TEXT NOT NULL,
    title TEXT NOT NULL,
    priority TEXT NOT NULL,
    priority_rank INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    stage TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_at INTEGER NOT NULL,
    is_held INTEGER NOT NULL DEFAULT 0,
    released_at INTEGER,
    reason TEXT NOT NULL,
    reason_code TEXT NOT NULL DEFAULT '',
    fingerprint TEXT,
    source_ref TEXT,
    track_ref TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ready_at INTEGER,
    restarts INTEGER NOT NULL DEFAULT 0,
    request TEXT NOT NULL DEFAULT '',
    provenance TEXT NOT NULL DEFAULT '',
    upload_attempts INTEGER NOT NULL DEFAULT 0,
    confirm_attempts INTEGER NOT NULL DEFAULT 0,
    claims INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    windows_at_crash INTEGER NOT NULL DEFAULT 0,
    UNIQUE (server_id, source_id, target)
) STRICT;
CREATE INDEX jobs_by_stage_and_state ON jobs (stage, state);
CREATE INDEX jobs_due ON jobs (stage, priority_rank, added_at DESC, id, next_try_at, state, is_held)
    WHERE state IN ('queued', 'parked') AND is_held = 0;
CREATE INDEX jobs_failed ON jobs (updated_at)
    WHERE state = 'failed';
CREATE INDEX jobs_held ON jobs (added_at DESC, source_id)
    WHERE is_held = 1;
CREATE INDEX jobs_next ON jobs (next_try_at)
    WHERE state IN ('queued', 'parked') AND is_held = 0;
CREATE INDEX jobs_of_item ON jobs (item_id);
CREATE INDEX jobs_of_source ON jobs (server_id, source_id);
CREATE INDEX jobs_parked ON jobs (reason_code, next_try_at)
    WHERE state = 'parked';
CREATE INDEX jobs_released ON jobs (released_at)
    WHERE released_at IS NOT NULL;
CREATE INDEX jobs_running ON jobs (id)
    WHERE state = 'running';

CREATE TABLE playback (
    server_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    played_at INTEGER NOT NULL,
    PRIMARY KEY (server_id, item_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX playback_by_time ON playback (played_at);

CREATE TABLE sketches (
    fingerprint TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    sketch BLOB NOT NULL,
    PRIMARY KEY (fingerprint, ordinal)
) STRICT;
CREATE INDEX sketches_by_length ON sketches (duration_ms);

CREATE TABLE skips (
    fingerprint TEXT NOT NULL,
    target TEXT NOT NULL,
    skip_key TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    skipped_at INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, target, skip_key)
) STRICT;

CREATE TABLE sound_aliases (
    fingerprint TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    known_fingerprint TEXT NOT NULL,
    known_ordinal INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, ordinal)
) STRICT;

CREATE TABLE speech_samples (
    server_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    revision TEXT NOT NULL,
    samples TEXT NOT NULL,
    PRIMARY KEY (server_id, source_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE speeds (
    activity TEXT NOT NULL,
    media_ms INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    PRIMARY KEY (activity)
) STRICT;

CREATE TABLE state_values (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
) STRICT;

CREATE TABLE track_facts (
    server_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    track TEXT NOT NULL,
    revision TEXT NOT NULL,
    language TEXT,
    cues_hash TEXT NOT NULL DEFAULT '',
    unusable_reason TEXT NOT NULL DEFAULT '',
    is_compared INTEGER NOT NULL DEFAULT 0,
    media TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (server_id, source_id, track)
) STRICT, WITHOUT ROWID;

CREATE TABLE transcripts (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    recognizer TEXT NOT NULL,
    model_revision TEXT NOT NULL,
    asr_settings_key TEXT NOT NULL,
    language TEXT,
    duration_ms INTEGER NOT NULL,
    is_complete INTEGER NOT NULL DEFAULT 0,
    UNIQUE (fingerprint, ordinal, recognizer, model_revision, asr_settings_key)
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

CREATE TABLE windows (
    transcript_id INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    segments TEXT NOT NULL,
    PRIMARY KEY (transcript_id, start_ms),
    FOREIGN KEY (transcript_id) REFERENCES transcripts (id) ON DELETE CASCADE
) STRICT;
