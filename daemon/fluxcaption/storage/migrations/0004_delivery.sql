-- What a delivery needs to go on after any break: whether sending began, what it replaces and how it was made.

ALTER TABLE deliveries ADD COLUMN sent_at INTEGER;
ALTER TABLE deliveries ADD COLUMN previous TEXT NOT NULL DEFAULT '';
UPDATE deliveries SET sent_at = coalesce(uploaded_at, intended_at) WHERE state IN ('intended', 'uploaded');
UPDATE deliveries SET grade = json_object('how', grade) WHERE grade <> '';

ALTER TABLE jobs ADD COLUMN grade TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN sends INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN looks INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET grade = json_object('how', reason) WHERE stage IN ('upload', 'confirm') AND reason_code = '';
