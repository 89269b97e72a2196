-- +goose Up
CREATE TABLE postback_destinations (
	name                 TEXT PRIMARY KEY,
	starts_at            TIMESTAMPTZ NOT NULL,
	failures             BIGINT NOT NULL DEFAULT 0,
	failing_since        TIMESTAMPTZ,
	paused_until         TIMESTAMPTZ,
	sent                 BIGINT NOT NULL DEFAULT 0,
	skipped_before_start BIGINT NOT NULL DEFAULT 0,
	skipped_no_click_id  BIGINT NOT NULL DEFAULT 0
);
COMMENT ON TABLE postback_destinations IS 'The trackers that are told about events. mirror_readers has their positions';
COMMENT ON COLUMN postback_destinations.name IS 'The name in the configuration';
COMMENT ON COLUMN postback_destinations.starts_at IS 'Events before this time are skipped';
COMMENT ON COLUMN postback_destinations.failures IS 'Failures of the tracker, not of one event, since its last success';
COMMENT ON COLUMN postback_destinations.failing_since IS 'The first of these failures. NULL: the tracker works';
COMMENT ON COLUMN postback_destinations.paused_until IS 'Nothing is sent before this time. NULL: it is not paused';
COMMENT ON COLUMN postback_destinations.sent IS 'The number of events that the tracker has accepted';
COMMENT ON COLUMN postback_destinations.skipped_before_start IS 'The number of events before starts_at';
COMMENT ON COLUMN postback_destinations.skipped_no_click_id IS 'The number of events whose lead has no click id';

CREATE TABLE postback_queue (
	destination   TEXT NOT NULL REFERENCES postback_destinations,
	event_id      BIGINT NOT NULL,
	brand         TEXT NOT NULL,
	lead_id       BIGINT NOT NULL,
	macros        TEXT NOT NULL,
	state         TEXT NOT NULL CHECK (state IN ('waiting', 'failed')),
	waiting_since TIMESTAMPTZ NOT NULL,
	due_at        TIMESTAMPTZ NOT NULL,
	attempts      BIGINT NOT NULL DEFAULT 0,
	failing_since TIMESTAMPTZ,
	error         TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (destination, event_id)
);
CREATE INDEX postback_queue_due ON postback_queue (destination, due_at, event_id) WHERE state = 'waiting';
CREATE INDEX postback_queue_lead ON postback_queue (destination, brand, lead_id, event_id) WHERE state = 'waiting';
COMMENT ON TABLE postback_queue IS 'Events that a tracker has not accepted yet. Accepted ones are deleted';
COMMENT ON COLUMN postback_queue.destination IS 'See postback_destinations.name';
COMMENT ON COLUMN postback_queue.event_id IS 'See lead_events.id';
COMMENT ON COLUMN postback_queue.brand IS 'See lead_events.brand';
COMMENT ON COLUMN postback_queue.lead_id IS 'See lead_events.lead_id';
COMMENT ON COLUMN postback_queue.macros IS 'JSON: the values of the macros when the event was queued';
COMMENT ON COLUMN postback_queue.state IS 'waiting, or failed: only "clixnow postback retry" sends it again';
COMMENT ON COLUMN postback_queue.waiting_since IS 'When it was queued, or given another day by "clixnow postback retry"';
COMMENT ON COLUMN postback_queue.due_at IS 'The time of the next attempt';
COMMENT ON COLUMN postback_queue.attempts IS 'The number of attempts that failed';
COMMENT ON COLUMN postback_queue.failing_since IS 'The first failed attempt. NULL: none';
COMMENT ON COLUMN postback_queue.error IS 'Why the last attempt failed. Empty: none failed';
