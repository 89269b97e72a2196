package reconcile

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// outboxQuery reads the sign-ups of the outbox that were made in a period. This
// file is all that reconcile knows about the outbox. See its schema.sql.
const outboxQuery = `SELECT id, click_id, lead, status, created_at, coalesce(lead_id, 0), first_attempt_at IS NOT NULL
	FROM signups WHERE created_at >= $1 AND created_at < $2 ORDER BY created_at`

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
	rows, err := db.QueryContext(ctx, outboxQuery, from.UnixMilli(), end.UnixMilli())
	if err != nil {
		if text := err.Error(); strings.Contains(text, "no such table") || strings.Contains(text, "42P01") {
			err = errors.New("the database has no table signups: it must be that of the outbox")
		}
		return app.Usage("--db: read the outbox: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, lead, status string
		var createdAt int64
		var tried bool
		r := new(registration)
		if err := rows.Scan(&id, &r.clickID, &lead, &status, &createdAt, &r.leadID, &tried); err != nil {
			return app.Usage("--db: read the outbox: %w", err)
		}
		var request clixnow.CreateLeadRequest
		if err := json.Unmarshal([]byte(lead), &request); err != nil {
			return app.Usage("--db: read sign-up %s of the outbox: %w", id, err)
		}
		r.source, r.email = "outbox:"+id, request.Email
		r.registered.first = time.UnixMilli(createdAt)
		r.registered.last = r.registered.first
		r.inDoubt = status == "doubtful" || status == "pending" && tried
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
