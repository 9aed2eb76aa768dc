ALTER TABLE deliveries ADD COLUMN step TEXT NOT NULL DEFAULT '';

UPDATE deliveries SET step = 'restoring'
WHERE state IN ('intended', 'uploaded') AND EXISTS (
    SELECT 1 FROM jobs
    WHERE jobs.server_id = deliveries.server_id AND jobs.source_id = deliveries.source_id
      AND jobs.target = deliveries.target AND jobs.stage = 'confirm' AND jobs.reason_code = 'put-back'
);

UPDATE deliveries SET step = 'refreshed-after-upload'
WHERE state IN ('intended', 'uploaded') AND EXISTS (
    SELECT 1 FROM jobs
    WHERE jobs.server_id = deliveries.server_id AND jobs.source_id = deliveries.source_id
      AND jobs.target = deliveries.target AND jobs.stage = 'confirm' AND jobs.reason_code = 'not-visible'
);

UPDATE jobs SET reason_code = 'preempted' WHERE reason_code = 'aside';
UPDATE jobs SET reason_code = 'waiting-for-languages' WHERE reason_code = 'together';
