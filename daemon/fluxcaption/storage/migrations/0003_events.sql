-- A repeat of an event that was handled lately is found by what it tells.

CREATE INDEX events_of_item ON events (server_id, kind, item_id);
