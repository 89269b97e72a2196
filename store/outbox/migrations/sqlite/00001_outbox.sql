-- +goose Up
-- Times are texts such as 2006-01-02T15:04:05.000000Z.
CREATE TABLE outbox_signups (
	id            TEXT PRIMARY KEY,
	click_hash    TEXT NOT NULL,                -- SHA-256 of the click id, because a visitor chooses its length
	job_id        BIGINT NOT NULL,              -- the id of River's job
	lead          TEXT NOT NULL,                -- the request in JSON, without the password
	search        TEXT NOT NULL,                -- what people search for, in lower case
	status        TEXT NOT NULL,
	created_at    TEXT NOT NULL,
	tries         BIGINT NOT NULL DEFAULT 0,    -- grows with each claim and each correction
	waits         BIGINT NOT NULL DEFAULT 0,    -- how many waits of the long schedule are used
	attempt_brand TEXT NOT NULL DEFAULT '',     -- the brand that may have the lead
	attempt_since TEXT,
	next_try_at   TEXT,                         -- NULL while it is tried
	settled_at    TEXT,
	brand         TEXT NOT NULL DEFAULT '',     -- the brand that took the lead
	lead_id       BIGINT NOT NULL DEFAULT 0,
	redirect_url  TEXT NOT NULL DEFAULT '',     -- a secret: it logs the lead in at the brand
	problem       TEXT NOT NULL DEFAULT '',     -- the error of the last try
	reason        TEXT NOT NULL DEFAULT '',     -- why the brand refused the lead
	replaced      BIGINT NOT NULL DEFAULT 0,    -- how often the visitor has corrected the sign-up
	history       TEXT NOT NULL DEFAULT '',     -- lines of JSON
	carried       TEXT NOT NULL DEFAULT '',     -- what Options.Carry has returned
	password      TEXT NOT NULL                 -- '' after the sign-up is settled; see padding in sqlite.go
);

-- This prevents a second sign-up by a double click. After a refusal, a new
-- sign-up can have the same click id.
CREATE UNIQUE INDEX outbox_signups_click ON outbox_signups (click_hash) WHERE status <> 'refused';
CREATE INDEX outbox_signups_created ON outbox_signups (created_at, id);
CREATE INDEX outbox_signups_status ON outbox_signups (status, created_at, id);
CREATE INDEX outbox_signups_settled ON outbox_signups (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX outbox_signups_redirect ON outbox_signups (settled_at) WHERE redirect_url <> '';

-- Check writes to this table.
CREATE TABLE outbox_check (id BIGINT PRIMARY KEY, checked_at TEXT NOT NULL);
