-- Tables, columns, values and JSON keys take the names that the program uses for them.

ALTER TABLE settled RENAME TO skips;
ALTER TABLE skips RENAME COLUMN settings_hash TO skip_key;
ALTER TABLE skips RENAME COLUMN settled_at TO skipped_at;
-- The primary key begins with the fingerprint: this index held the same.
DROP INDEX settled_by_media;

ALTER TABLE flags RENAME TO state_values;

ALTER TABLE same_sounds RENAME TO sound_aliases;

ALTER TABLE watched RENAME TO playback;
ALTER TABLE playback RENAME COLUMN watched_at TO played_at;
DROP INDEX watched_at;
CREATE INDEX playback_by_time ON playback (played_at);

ALTER TABLE speech_maps RENAME TO speech_samples;
ALTER TABLE speech_samples RENAME COLUMN heard TO samples;

ALTER TABLE speeds RENAME COLUMN way TO activity;

ALTER TABLE transcripts RENAME COLUMN settings_hash TO asr_settings_key;

ALTER TABLE track_facts RENAME COLUMN misfit TO unusable_reason;

ALTER TABLE events RENAME COLUMN looks TO attempts;

ALTER TABLE items RENAME COLUMN basis TO decision_inputs_hash;
ALTER TABLE items RENAME COLUMN ways TO actions;
ALTER TABLE items RENAME COLUMN look_again TO needs_reread;
-- A list such as `de listen,es settled`; with a comma at its end each entry ends alike.
UPDATE items SET actions = rtrim(
    replace(replace(replace(replace(actions || ',', ' settled,', ' skipped,'), ' look,', ' inspect,'),
        ' retire,', ' yield-to-human,'), ' withdraw,', ' remove-stale,'), ',')
    WHERE actions <> '';

ALTER TABLE jobs RENAME COLUMN tier TO priority;
ALTER TABLE jobs RENAME COLUMN tier_rank TO priority_rank;
ALTER TABLE jobs RENAME COLUMN begun_at TO released_at;
ALTER TABLE jobs RENAME COLUMN revivals TO restarts;
ALTER TABLE jobs RENAME COLUMN asked TO request;
ALTER TABLE jobs RENAME COLUMN grade TO provenance;
ALTER TABLE jobs RENAME COLUMN sends TO upload_attempts;
ALTER TABLE jobs RENAME COLUMN looks TO confirm_attempts;
UPDATE jobs SET stage = 'acquire' WHERE stage = 'listen';
UPDATE jobs SET state = 'skipped' WHERE state = 'settled';
UPDATE jobs SET priority = CASE priority
        WHEN 'asked' THEN 'requested' WHEN 'next' THEN 'next-episode' WHEN 'soon' THEN 'later-episode'
        ELSE priority END
    WHERE priority IN ('asked', 'next', 'soon');
UPDATE jobs SET provenance =
        json_set(json_remove(provenance, '$.how'), '$.description', json_extract(provenance, '$.how'))
    WHERE provenance <> '' AND json_type(provenance, '$.how') IS NOT NULL;
DROP INDEX jobs_begun;
DROP INDEX jobs_standing;
CREATE INDEX jobs_released ON jobs (released_at) WHERE released_at IS NOT NULL;
CREATE INDEX jobs_by_stage_and_state ON jobs (stage, state);

ALTER TABLE deliveries RENAME COLUMN provenance TO details;
ALTER TABLE deliveries RENAME COLUMN grade TO provenance;
ALTER TABLE deliveries RENAME COLUMN made_for TO media_revision;
ALTER TABLE deliveries RENAME COLUMN is_asked TO is_requested;
ALTER TABLE deliveries RENAME COLUMN missing_passes TO missing_scans;
-- No query could use this one.
DROP INDEX deliveries_missing;
UPDATE deliveries SET provenance =
        json_set(json_remove(provenance, '$.how'), '$.description', json_extract(provenance, '$.how'))
    WHERE provenance <> '' AND json_type(provenance, '$.how') IS NOT NULL;
UPDATE deliveries SET details =
        json_set(json_remove(details, '$.how'), '$.description', json_extract(details, '$.how'))
    WHERE json_valid(details) AND json_type(details, '$.how') IS NOT NULL;

-- The replaced delivery is kept as JSON with the names of the columns as keys.
UPDATE deliveries SET previous = json_object(
        'server_id', json_extract(previous, '$.server_id'),
        'source_id', json_extract(previous, '$.source_id'),
        'target', json_extract(previous, '$.target'),
        'content_hash', json_extract(previous, '$.content_hash'),
        'file_name', json_extract(previous, '$.file_name'),
        'details', json_extract(previous, '$.provenance'),
        'intended_at', json_extract(previous, '$.intended_at'),
        'uploaded_at', json_extract(previous, '$.uploaded_at'),
        'confirmed_at', json_extract(previous, '$.confirmed_at'),
        'item_id', json_extract(previous, '$.item_id'),
        'title', json_extract(previous, '$.title'),
        'fingerprint', json_extract(previous, '$.fingerprint'),
        'media_revision', json_extract(previous, '$.made_for'),
        'cues_hash', json_extract(previous, '$.cues_hash'),
        'provenance', json_extract(previous, '$.grade'),
        'track_path', json_extract(previous, '$.track_path'),
        'previous_ref', json_extract(previous, '$.previous_ref'),
        'previous', '',
        'sent_at', json_extract(previous, '$.sent_at'),
        'state', json_extract(previous, '$.state'),
        'step', '',
        'missing_since', json_extract(previous, '$.missing_since'),
        'missing_scans', json_extract(previous, '$.missing_passes'),
        'is_requested', json_extract(previous, '$.is_asked'))
    WHERE previous <> '';
-- Both are JSON texts inside of JSON: `|| ''` keeps them texts.
UPDATE deliveries SET previous = json_set(previous, '$.provenance',
        json_set(json_remove(json_extract(previous, '$.provenance'), '$.how'),
            '$.description', json_extract(json_extract(previous, '$.provenance'), '$.how')) || '')
    WHERE previous <> '' AND json_extract(previous, '$.provenance') <> ''
        AND json_type(json_extract(previous, '$.provenance'), '$.how') IS NOT NULL;
UPDATE deliveries SET previous = json_set(previous, '$.details',
        json_set(json_remove(json_extract(previous, '$.details'), '$.how'),
            '$.description', json_extract(json_extract(previous, '$.details'), '$.how')) || '')
    WHERE previous <> '' AND json_valid(json_extract(previous, '$.details'))
        AND json_type(json_extract(previous, '$.details'), '$.how') IS NOT NULL;

-- A delivery names the step it is in; until now the reason code of its open job did.
ALTER TABLE deliveries ADD COLUMN step TEXT NOT NULL DEFAULT '';
UPDATE deliveries SET step = coalesce((
        SELECT CASE jobs.reason_code
            WHEN 'unlisted' THEN 'refreshed-before-upload'
            WHEN 'not-visible' THEN 'refreshed-after-upload'
            WHEN 'put-back' THEN 'restoring' END
        FROM jobs
        WHERE jobs.server_id = deliveries.server_id AND jobs.source_id = deliveries.source_id
            AND jobs.target = deliveries.target AND jobs.state IN ('queued', 'running', 'parked')), '')
    WHERE EXISTS (SELECT 1 FROM jobs
        WHERE jobs.server_id = deliveries.server_id AND jobs.source_id = deliveries.source_id
            AND jobs.target = deliveries.target
            AND jobs.reason_code IN ('unlisted', 'not-visible', 'put-back'));
