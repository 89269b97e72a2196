-- Both databases take this. Times are milliseconds since 1970.
CREATE TABLE IF NOT EXISTS signups (
	id               TEXT PRIMARY KEY,
	token            TEXT NOT NULL UNIQUE,  -- lets the visitor ask: not to be guessed, and in no log
	click_id         TEXT NOT NULL,
	job_id           BIGINT NOT NULL,       -- of River
	lead             TEXT NOT NULL,         -- the request in JSON, without its password
	password         TEXT,                  -- null once settled
	status           TEXT NOT NULL,
	created_at       BIGINT NOT NULL,
	tries            BIGINT NOT NULL DEFAULT 0,
	first_attempt_at BIGINT,                -- null: nothing was sent that could have arrived
	next_try_at      BIGINT,
	settled_at       BIGINT,
	lead_id          BIGINT,
	redirect_url     TEXT,                  -- logs the lead in at the brand: a secret
	problem          TEXT,                  -- of the last try, for people who look after the outbox
	visitor_problem  TEXT                   -- why it was refused, for the visitor
);

-- Stops double clicks for good. A refused sign-up may be mended and sent again.
CREATE UNIQUE INDEX IF NOT EXISTS signups_click_id ON signups (click_id) WHERE status <> 'refused';

CREATE INDEX IF NOT EXISTS signups_status ON signups (status, created_at)
