-- +goose Up
-- table.go has the indexes for questions.
CREATE TABLE leads (
	brand        TEXT COLLATE "C" NOT NULL,
	id           BIGINT NOT NULL,
	email        TEXT NOT NULL,
	status       TEXT NOT NULL,
	crm_id       TEXT NOT NULL,
	brand_id     BIGINT NOT NULL,
	brand_name   TEXT NOT NULL,
	created_on   TIMESTAMPTZ,
	updated_on   TIMESTAMPTZ,
	ftd_date     TIMESTAMPTZ,
	click_id     TEXT NOT NULL,
	sub2         TEXT NOT NULL,
	sub_campaign TEXT NOT NULL,
	keyword      TEXT NOT NULL,
	placement    TEXT NOT NULL,
	client_type  TEXT NOT NULL,
	extra        JSON,
	PRIMARY KEY (brand, id)
);
COMMENT ON TABLE leads IS 'The last state of each lead';
COMMENT ON COLUMN leads.brand IS 'The name of the brand at Clixnow';
COMMENT ON COLUMN leads.id IS 'The lead id of Clixnow, which is different for each lead of a brand';
COMMENT ON COLUMN leads.email IS 'Empty: hidden. Some brands mask it';
COMMENT ON COLUMN leads.status IS 'A text of the brand. Empty: none, or hidden';
COMMENT ON COLUMN leads.crm_id IS 'The id of the lead in the system of the brand. Empty: none, or hidden';
COMMENT ON COLUMN leads.brand_id IS 'The id of the broker that accepted the lead. 0: hidden';
COMMENT ON COLUMN leads.brand_name IS 'The broker that accepted the lead. Empty: none, or hidden';
COMMENT ON COLUMN leads.created_on IS 'NULL: hidden';
COMMENT ON COLUMN leads.updated_on IS 'NULL: hidden, or never';
COMMENT ON COLUMN leads.ftd_date IS 'The time of the first deposit. NULL: none, withdrawn, or hidden';
COMMENT ON COLUMN leads.click_id IS 'The click id of the registration. Empty: none, or hidden';
COMMENT ON COLUMN leads.sub2 IS 'The second source. Empty: none, or hidden';
COMMENT ON COLUMN leads.sub_campaign IS 'The source or the campaign. Empty: none, or hidden';
COMMENT ON COLUMN leads.keyword IS 'The search word. Empty: none, or hidden';
COMMENT ON COLUMN leads.placement IS 'The landing page or the advertisement. Empty: none, or hidden';
COMMENT ON COLUMN leads.client_type IS 'A word of the API. For first deposits use ftd_date';
COMMENT ON COLUMN leads.extra IS 'Fields of the API that the SDK does not know. NULL: none';

CREATE TABLE lead_events (
	id            BIGINT PRIMARY KEY,
	brand         TEXT NOT NULL,
	lead_id       BIGINT NOT NULL,
	event         TEXT NOT NULL,
	status_before TEXT NOT NULL,
	status        TEXT NOT NULL,
	ftd_date      TIMESTAMPTZ,
	updated_on    TIMESTAMPTZ,
	recorded_at   TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE lead_events IS 'What happened to leads, in the order in which it was saved';
COMMENT ON COLUMN lead_events.id IS 'Ascending in the order of the transactions';
COMMENT ON COLUMN lead_events.brand IS 'The name of the brand at Clixnow';
COMMENT ON COLUMN lead_events.lead_id IS 'The id of the lead within its brand';
COMMENT ON COLUMN lead_events.event IS
	'created, status changed, deposited, deposit withdrawn, or email changed: the id belongs to another person now';
COMMENT ON COLUMN lead_events.status_before IS 'The status before the event. Empty: none, or hidden';
COMMENT ON COLUMN lead_events.status IS 'The status after the event. Empty: none, or hidden';
COMMENT ON COLUMN lead_events.ftd_date IS 'The time of the first deposit after the event. NULL: none, or hidden';
COMMENT ON COLUMN lead_events.updated_on IS 'When the version of the lead that showed the event was made';
COMMENT ON COLUMN lead_events.recorded_at IS 'When the event was saved';

CREATE TABLE mirror_brands (
	brand        TEXT PRIMARY KEY,
	base_url     TEXT NOT NULL DEFAULT '',
	position     TIMESTAMPTZ,
	caught_up_at TIMESTAMPTZ
);
COMMENT ON TABLE mirror_brands IS 'How far each brand was read';
COMMENT ON COLUMN mirror_brands.brand IS 'The name of the brand at Clixnow';
COMMENT ON COLUMN mirror_brands.base_url IS 'The address of the API that the leads are from. Empty: unknown';
COMMENT ON COLUMN mirror_brands.position IS 'All changes before this time were read. NULL: none were read';
COMMENT ON COLUMN mirror_brands.caught_up_at IS
	'When all changes had been saved last. While nothing changes, it moves once in an hour. NULL: the history was not read completely';

CREATE TABLE mirror_owner (
	only_row   BIGINT PRIMARY KEY CHECK (only_row = 1),
	owner      BIGINT NOT NULL,
	last_event BIGINT NOT NULL
);
INSERT INTO mirror_owner VALUES (1, 0, 0);
COMMENT ON TABLE mirror_owner IS 'One row. Each transaction that saves something begins with an UPDATE of it';
COMMENT ON COLUMN mirror_owner.only_row IS 'Always 1';
COMMENT ON COLUMN mirror_owner.owner IS 'The number of the process that may save: the one that opened the mirror last';
COMMENT ON COLUMN mirror_owner.last_event IS 'The largest id that an event was given';

CREATE TABLE mirror_readers (
	name     TEXT PRIMARY KEY,
	event_id BIGINT NOT NULL
);
COMMENT ON TABLE mirror_readers IS 'How far each reader has handled the events';
COMMENT ON COLUMN mirror_readers.name IS 'The name of the reader, such as print';
COMMENT ON COLUMN mirror_readers.event_id IS 'The last event that the reader has handled';

CREATE VIEW daily_funnel AS
SELECT brand, (created_on AT TIME ZONE 'UTC')::date AS day, sub_campaign,
	count(*) AS leads, count(ftd_date) AS deposits
FROM leads
WHERE created_on IS NOT NULL
GROUP BY 1, 2, 3;
COMMENT ON VIEW daily_funnel IS 'Leads and first deposits by the day of creation';
COMMENT ON COLUMN daily_funnel.brand IS 'The name of the brand at Clixnow';
COMMENT ON COLUMN daily_funnel.day IS 'The day on which the leads were created, in UTC';
COMMENT ON COLUMN daily_funnel.sub_campaign IS 'The source or the campaign. Empty: none, or hidden';
COMMENT ON COLUMN daily_funnel.leads IS 'The number of leads that were created on this day';
COMMENT ON COLUMN daily_funnel.deposits IS 'The number of these leads that have a first deposit, on any day';

CREATE VIEW current_deposits AS
SELECT brand, id AS lead_id, ftd_date, (ftd_date AT TIME ZONE 'UTC')::date AS day, created_on,
	extract(epoch FROM ftd_date - created_on)::float8 / 86400 AS days_to_deposit,
	status, click_id, sub2, sub_campaign, keyword, placement
FROM leads
WHERE ftd_date IS NOT NULL;
COMMENT ON VIEW current_deposits IS 'The leads that have a first deposit now. Withdrawn deposits are not in it';
COMMENT ON COLUMN current_deposits.brand IS 'The name of the brand at Clixnow';
COMMENT ON COLUMN current_deposits.lead_id IS 'The id of the lead within its brand';
COMMENT ON COLUMN current_deposits.ftd_date IS 'The time of the first deposit';
COMMENT ON COLUMN current_deposits.day IS 'The day of the first deposit, in UTC';
COMMENT ON COLUMN current_deposits.created_on IS 'When the lead was created. NULL: hidden';
COMMENT ON COLUMN current_deposits.days_to_deposit IS 'The days from the registration to the deposit. NULL: hidden';
COMMENT ON COLUMN current_deposits.status IS 'See leads.status';
COMMENT ON COLUMN current_deposits.click_id IS 'See leads.click_id';
COMMENT ON COLUMN current_deposits.sub2 IS 'See leads.sub2';
COMMENT ON COLUMN current_deposits.sub_campaign IS 'See leads.sub_campaign';
COMMENT ON COLUMN current_deposits.keyword IS 'See leads.keyword';
COMMENT ON COLUMN current_deposits.placement IS 'See leads.placement';

CREATE VIEW events_of_lead AS
SELECT e.id AS event_id, e.brand, e.lead_id, e.event, e.status_before, e.status, e.ftd_date, e.updated_on,
	e.recorded_at, l.created_on, l.click_id, l.sub_campaign
FROM lead_events e JOIN leads l ON l.brand = e.brand AND l.id = e.lead_id;
COMMENT ON VIEW events_of_lead IS 'The events with the tracking fields of their leads. Read one lead by brand and lead_id';
COMMENT ON COLUMN events_of_lead.event_id IS 'See lead_events.id';
COMMENT ON COLUMN events_of_lead.brand IS 'The name of the brand at Clixnow';
COMMENT ON COLUMN events_of_lead.lead_id IS 'The id of the lead within its brand';
COMMENT ON COLUMN events_of_lead.event IS 'See lead_events.event';
COMMENT ON COLUMN events_of_lead.status_before IS 'See lead_events.status_before';
COMMENT ON COLUMN events_of_lead.status IS 'See lead_events.status';
COMMENT ON COLUMN events_of_lead.ftd_date IS 'See lead_events.ftd_date';
COMMENT ON COLUMN events_of_lead.updated_on IS 'See lead_events.updated_on';
COMMENT ON COLUMN events_of_lead.recorded_at IS 'See lead_events.recorded_at';
COMMENT ON COLUMN events_of_lead.created_on IS 'See leads.created_on';
COMMENT ON COLUMN events_of_lead.click_id IS 'See leads.click_id';
COMMENT ON COLUMN events_of_lead.sub_campaign IS 'See leads.sub_campaign';
