-- +goose Up
-- table.go has the indexes for questions. The comments are in the migration for
-- PostgreSQL. Times are texts like 2006-01-02T15:04:05.000000Z, which sort by
-- time.
CREATE TABLE leads (
	brand        TEXT NOT NULL,
	id           INTEGER NOT NULL,
	email        TEXT NOT NULL,
	status       TEXT NOT NULL,
	crm_id       TEXT NOT NULL,
	brand_id     INTEGER NOT NULL,
	brand_name   TEXT NOT NULL,
	created_on   TEXT,
	updated_on   TEXT,
	ftd_date     TEXT,
	click_id     TEXT NOT NULL,
	sub2         TEXT NOT NULL,
	sub_campaign TEXT NOT NULL,
	keyword      TEXT NOT NULL,
	placement    TEXT NOT NULL,
	client_type  TEXT NOT NULL,
	extra        TEXT,
	PRIMARY KEY (brand, id)
);

CREATE TABLE lead_events (
	id            INTEGER PRIMARY KEY,
	brand         TEXT NOT NULL,
	lead_id       INTEGER NOT NULL,
	event         TEXT NOT NULL,
	status_before TEXT NOT NULL,
	status        TEXT NOT NULL,
	ftd_date      TEXT,
	updated_on    TEXT,
	recorded_at   TEXT NOT NULL
);

CREATE TABLE mirror_brands (
	brand        TEXT PRIMARY KEY,
	base_url     TEXT NOT NULL DEFAULT '',
	position     TEXT,
	caught_up_at TEXT
);

CREATE TABLE mirror_owner (
	only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
	owner      INTEGER NOT NULL,
	last_event INTEGER NOT NULL
);
INSERT INTO mirror_owner VALUES (1, 0, 0);

CREATE TABLE mirror_readers (
	name     TEXT PRIMARY KEY,
	event_id INTEGER NOT NULL
);

CREATE VIEW daily_funnel AS
SELECT brand, substr(created_on, 1, 10) AS day, sub_campaign, count(*) AS leads, count(ftd_date) AS deposits
FROM leads
WHERE created_on IS NOT NULL
GROUP BY 1, 2, 3;

CREATE VIEW current_deposits AS
SELECT brand, id AS lead_id, ftd_date, substr(ftd_date, 1, 10) AS day, created_on,
	julianday(ftd_date) - julianday(created_on) AS days_to_deposit,
	status, click_id, sub2, sub_campaign, keyword, placement
FROM leads
WHERE ftd_date IS NOT NULL;

CREATE VIEW events_of_lead AS
SELECT e.id AS event_id, e.brand, e.lead_id, e.event, e.status_before, e.status, e.ftd_date, e.updated_on,
	e.recorded_at, l.created_on, l.click_id, l.sub_campaign
FROM lead_events e JOIN leads l ON l.brand = e.brand AND l.id = e.lead_id;
