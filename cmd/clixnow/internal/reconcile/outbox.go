package reconcile

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// outboxQuery reads the sign-ups of an outbox that were made in a period. The
// lead of one that is in doubt may be at the brand of its attempt. This file is
// all that reconcile knows about the outbox. See store/outbox/migrations.
const outboxQuery = `SELECT id, lead, status, created_at, lead_id,
	CASE WHEN brand = '' THEN attempt_brand ELSE brand END
	FROM outbox_signups WHERE created_at >= $1 AND created_at < $2 ORDER BY created_at, id`

// outboxTime is the form of times in SQLite, which PostgreSQL reads too.
const outboxTime = "2006-01-02T15:04:05.000000Z"

// readOutbox adds the registrations of the outbox at a postgres:// URL or in an
// SQLite file. It reads only.
func (o *ours) readOutbox(ctx context.Context, address string, from, end time.Time) error {
	isURL := strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
	driver, source := "pgx", address
	if !isURL {
		if _, err := os.Stat(address); err != nil {
			return app.Usage("--db: %w", err)
		}
		file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: address}).EscapedPath(), RawQuery: "mode=ro"}
		driver, source = "sqlite", file.String()
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return app.Usage("--db: %w", err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(ctx, outboxQuery, from.UTC().Format(outboxTime),
		end.UTC().Format(outboxTime))
	if err != nil {
		if text := err.Error(); strings.Contains(text, "no such table") || strings.Contains(text, "42P01") {
			err = errors.New("the database has no table outbox_signups: it must be that of \"clixnow serve\"")
		}
		return app.Usage("--db: read the outbox: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, lead, status string
		var createdAt any
		r := new(registration)
		if err := rows.Scan(&id, &lead, &status, &createdAt, &r.leadID, &r.brand); err != nil {
			return app.Usage("--db: read the outbox: %w", err)
		}
		var request clixnow.CreateLeadRequest
		if err := json.Unmarshal([]byte(lead), &request); err != nil {
			return app.Usage("--db: read sign-up %s of the outbox: %w", id, err)
		}
		r.source, r.email, r.clickID = "outbox:"+id, request.Email, request.ClickID
		if r.registered.first, err = timeOf(createdAt); err != nil {
			return app.Usage("--db: read sign-up %s of the outbox: %w", id, err)
		}
		r.registered.last = r.registered.first
		r.inDoubt = status == "doubtful" || status == "pending" && r.brand != ""
		if status != "registered" && !r.inDoubt {
			o.notSent++
			continue
		}
		o.add(r)
	}
	if err := rows.Err(); err != nil {
		return app.Usage("--db: read the outbox: %w", err)
	}
	return nil
}

// timeOf returns a time of the outbox. SQLite has it as a text.
func timeOf(value any) (time.Time, error) {
	if t, ok := value.(time.Time); ok {
		return t, nil
	}
	return time.Parse(outboxTime, fmt.Sprint(value))
}
