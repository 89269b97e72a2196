-- This works with both databases. Times are in milliseconds since 1970.
CREATE TABLE IF NOT EXISTS signups (
	id               TEXT PRIMARY KEY,
	token            TEXT NOT NULL UNIQUE,  -- a secret: with it the visitor reads the status
	click_id         TEXT NOT NULL,
	job_id           BIGINT NOT NULL,       -- the id of River's job
	lead             TEXT NOT NULL,         -- the request in JSON, without the password
	password         TEXT,                  -- null after the sign-up is settled
	status           TEXT NOT NULL,
	created_at       BIGINT NOT NULL,
	tries            BIGINT NOT NULL DEFAULT 0,
	refusals         BIGINT NOT NULL DEFAULT 0, -- temporary refusals, such as that of a full brand
	first_attempt_at BIGINT,                -- null: no request was sent that could have arrived
	next_try_at      BIGINT,
	settled_at       BIGINT,
	lead_id          BIGINT,
	redirect_url     TEXT,                  -- a secret: it logs the lead in at the brand
	problem          TEXT,                  -- the error of the last try, for the operators
	visitor_problem  TEXT                   -- the reason of the refusal, for the visitor
);

-- This prevents a second sign-up by a double click. After a refusal, a corrected sign-up can have the same click id.
CREATE UNIQUE INDEX IF NOT EXISTS signups_click_id ON signups (click_id) WHERE status <> 'refused';

CREATE INDEX IF NOT EXISTS signups_status ON signups (status, created_at)
