-- +goose Up
-- The comments are in the migration for PostgreSQL. Times are texts like
-- 2006-01-02T15:04:05.000000Z, which sort by time.
CREATE TABLE postback_destinations (
	name                 TEXT PRIMARY KEY,
	starts_at            TEXT NOT NULL,
	failures             INTEGER NOT NULL DEFAULT 0,
	failing_since        TEXT,
	paused_until         TEXT,
	sent                 INTEGER NOT NULL DEFAULT 0,
	skipped_before_start INTEGER NOT NULL DEFAULT 0,
	skipped_no_click_id  INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE postback_queue (
	destination   TEXT NOT NULL REFERENCES postback_destinations,
	event_id      INTEGER NOT NULL,
	brand         TEXT NOT NULL,
	lead_id       INTEGER NOT NULL,
	macros        TEXT NOT NULL,
	state         TEXT NOT NULL CHECK (state IN ('waiting', 'failed')),
	waiting_since TEXT NOT NULL,
	due_at        TEXT NOT NULL,
	attempts      INTEGER NOT NULL DEFAULT 0,
	failing_since TEXT,
	error         TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (destination, event_id)
);
CREATE INDEX postback_queue_due ON postback_queue (destination, due_at, event_id) WHERE state = 'waiting';
CREATE INDEX postback_queue_lead ON postback_queue (destination, brand, lead_id, event_id) WHERE state = 'waiting';
