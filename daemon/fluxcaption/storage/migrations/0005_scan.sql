-- What a pass over the library tells is remembered with each item; what is asked every minute has an index.

ALTER TABLE items ADD COLUMN ways TEXT;
ALTER TABLE items ADD COLUMN titles INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN listen_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN added_at INTEGER NOT NULL DEFAULT 0;

DROP INDEX items_of_library;

ALTER TABLE track_facts ADD COLUMN media TEXT NOT NULL DEFAULT '';

CREATE INDEX deliveries_of_item ON deliveries (server_id, item_id);
CREATE INDEX jobs_standing ON jobs (stage, state);
CREATE INDEX jobs_failed ON jobs (updated_at) WHERE state = 'failed';
