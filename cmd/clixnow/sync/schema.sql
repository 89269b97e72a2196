-- This is version 1. The types are those of PostgreSQL. rows.go replaces them for SQLite.

CREATE TABLE leads (
	id           BIGINT PRIMARY KEY,
	email        TEXT NOT NULL,
	status       TEXT NOT NULL,
	crm_id       TEXT NOT NULL,
	brand_id     BIGINT NOT NULL,
	brand_name   TEXT NOT NULL,
	created_on   TIMESTAMPTZ,
	updated_on   TIMESTAMPTZ NOT NULL,
	ftd_date     TIMESTAMPTZ, -- NULL: there is no first deposit, or it is hidden
	click_id     TEXT NOT NULL,
	sub2         TEXT NOT NULL,
	sub_campaign TEXT NOT NULL,
	keyword      TEXT NOT NULL,
	placement    TEXT NOT NULL,
	client_type  TEXT NOT NULL,
	extra        JSON, -- the fields that the SDK does not know; NULL: there are none
	raw          JSON NOT NULL -- the whole lead; sync compares the next version with it
);
CREATE INDEX leads_by_ftd_date ON leads (ftd_date);
CREATE INDEX leads_by_sub_campaign ON leads (sub_campaign, ftd_date);
CREATE INDEX leads_by_created_on ON leads (created_on);
CREATE INDEX leads_by_click_id ON leads (click_id);

CREATE TABLE lead_events (
	id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- ascending, with gaps
	lead_id       BIGINT NOT NULL,
	event         TEXT NOT NULL, -- created, status changed, deposited, deposit withdrawn
	status_before TEXT NOT NULL,
	status        TEXT NOT NULL,
	ftd_date      TIMESTAMPTZ,
	updated_on    TIMESTAMPTZ NOT NULL, -- the time of the version of the lead that showed the event
	recorded_at   TIMESTAMPTZ NOT NULL,
	printed_at    TIMESTAMPTZ -- NULL: it was not printed yet
);
CREATE INDEX lead_events_by_lead ON lead_events (lead_id);
CREATE INDEX lead_events_to_print ON lead_events (id) WHERE printed_at IS NULL;
