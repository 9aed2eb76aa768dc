-- Where somebody speaks in a few stretches of a sound track: what text files beside it are compared with.

CREATE TABLE speech_maps (
    server_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    revision TEXT NOT NULL,
    heard TEXT NOT NULL,
    PRIMARY KEY (server_id, source_id, ordinal)
) STRICT, WITHOUT ROWID;
