package admin_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/admin"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// TestMain serves the pages for the browser tests of checks/browser, if
// CLIXNOW_ADMIN_DEMO is set. Else it runs the tests.
func TestMain(m *testing.M) {
	if os.Getenv("CLIXNOW_ADMIN_DEMO") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	folder := must(os.MkdirTemp("", "clixnow-admin-"))
	defer func() { _ = os.RemoveAll(folder) }()
	for _, name := range []string{"empty", "full"} {
		w := newWorld(ctx, filepath.Join(folder, name+".db"))
		defer w.close()
		if name == "full" {
			w.fill(ctx)
		}
		handler := must(admin.New(admin.Options{Outbox: w.Outbox, Loopback: true, Version: "1.2.3"}))
		server := httptest.NewServer(handler)
		defer server.Close()
		fmt.Println(name, server.URL)
	}
	<-ctx.Done()
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

const (
	password = "Pass-word-1-of-a-visitor"
	// secretPath is in each redirect URL.
	secretPath = "autologin"
)

// api is a fake brand that can be down.
type api struct {
	*clixnowtest.Server
	server *httptest.Server
	client *clixnow.Client
	down   atomic.Bool
}

func newAPI(brand string) *api {
	a := &api{Server: clixnowtest.NewHandler(clixnowtest.WithBrand(brand))}
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		a.ServeHTTP(w, r)
	}))
	a.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.server.Start()
	a.client = must(clixnow.NewClient(brand, a.Token, clixnow.WithBaseURL(a.server.URL), clixnow.WithInsecureHTTP(),
		clixnow.WithRefusals(func(refusal *clixnow.APIError) error {
			if strings.HasPrefix(refusal.Message, "Daily cap") {
				return clixnow.ErrNoCapacity
			}
			return nil
		}),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}),
		clixnow.WithLooks(10*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond, 40*time.Millisecond)))
	return a
}

// world is an outbox with two brands.
type world struct {
	*outbox.Outbox
	db         *sql.DB
	acme, beta *api
	number     int
}

func newWorld(ctx context.Context, file string) *world {
	w := &world{acme: newAPI("acme"), beta: newAPI("beta"), db: must(sql.Open("sqlite", outbox.SQLiteAddress(file)))}
	w.Outbox = w.open(ctx)
	return w
}

// open returns an outbox that has not tried a brand yet.
func (w *world) open(ctx context.Context) *outbox.Outbox {
	routes := []router.Route{{Client: w.acme.client}, {Client: w.beta.client}}
	return must(outbox.Open(ctx, w.db, outbox.SQLite, outbox.Options{Routes: routes}))
}

// work lets an outbox work while do runs.
func work(ctx context.Context, o *outbox.Outbox, do func(ctx context.Context)) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = o.Work(ctx)
	}()
	do(ctx)
	stop()
	<-ended
}

func (w *world) close() {
	_ = w.db.Close()
	for _, a := range []*api{w.acme, w.beta} {
		a.client.CloseIdleConnections()
		a.Close()
		a.server.Close()
	}
}

// lead returns the request of another person.
func (w *world) lead() clixnow.CreateLeadRequest {
	names := [][2]string{
		{"Allison", "Brown"},
		{"Bruno", "Keller"},
		{"Chloé", "Lefèvre"},
		{"Davide", "Rossi"},
		{"Elena", "Popović"},
		{"Finn", "O'Neill"},
		{"Grażyna", "Wiśniewska-Kowalczyk"},
		{"Håkon", "Berg"},
	}
	name := names[w.number%len(names)]
	w.number++
	return clixnow.CreateLeadRequest{
		FirstName: name[0], LastName: name[1], Phone: fmt.Sprintf("+4179555%04d", w.number), Password: password,
		Email:       fmt.Sprintf("%s.%d@example.com", strings.ToLower(name[0][:3]), w.number),
		CountryCode: "CH", LanguageCode: "DE", ClickID: fmt.Sprintf("click-%d", w.number), SubCampaign: "autumn",
		DeviceType: "Mobile", OSName: "iOS", Browser: "Safari", IPAddress: netip.MustParseAddr("192.0.2.7"),
		AcceptTermsAndConditions: true,
	}
}

// add adds a sign-up without a try.
func (w *world) add(ctx context.Context) *outbox.Signup { return must(w.Add(ctx, w.lead())) }

// try adds a sign-up, and returns it when a try has ended.
func (w *world) try(ctx context.Context) *outbox.Signup {
	s := w.add(ctx)
	for ctx.Err() == nil {
		s = must(w.Get(ctx, s.ID))
		if s.Tries > 0 && (s.Status != outbox.Pending || !s.NextTryAt.IsZero()) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return s
}

// both makes each brand refuse the next lead.
func (w *world) both(body string) {
	for _, a := range []*api{w.acme, w.beta} {
		a.ClearFaults() // a lead that acme refuses as a duplicate is not sent to beta
		a.Inject(clixnowtest.Fault{Method: http.MethodPost, Status: http.StatusBadRequest, Body: body})
	}
}

func (w *world) exec(ctx context.Context, statement string, args ...any) {
	must(w.db.ExecContext(ctx, statement, args...))
}

// ago returns a time as the table has it.
func ago(d time.Duration) string {
	return time.Now().Add(-d).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// fill adds sign-ups with each status, and makes both brands fail at the end.
func (w *world) fill(ctx context.Context) {
	var decide, given, doubt *outbox.Signup
	work(ctx, w.Outbox, func(ctx context.Context) {
		for range 60 {
			w.try(ctx)
		}
		w.both(`{"message":"Registration is not allowed for country CH"}`)
		w.try(ctx)
		w.both(`{"message":"Duplicate lead"}`)
		w.try(ctx)
		w.both(`{"message":"Daily cap reached"}`)
		w.try(ctx)
		w.both(`{"message":"Daily cap reached"}`)
		decide = w.try(ctx)
		w.both(`{"message":"Please call us <script>alert(1)</script>"}`)
		given = w.try(ctx)
	})
	w.acme.ClearFaults()
	w.beta.ClearFaults()
	w.acme.SetToken("another token")
	w.beta.down.Store(true)
	// If the outbox, or a try of an earlier sign-up, has noticed that a brand
	// fails, the next sign-up is not sent there.
	tryAlone := func(o *outbox.Outbox) (s *outbox.Signup) {
		w.exec(ctx, "UPDATE river_job SET scheduled_at = '2999-01-01 00:00:00' WHERE finalized_at IS NULL")
		work(ctx, o, func(ctx context.Context) { s = w.try(ctx) })
		return s
	}
	for range 4 {
		doubt = tryAlone(w.open(ctx))
	}
	w.beta.down.Store(false)
	w.beta.SetToken("another token")
	tryAlone(w.open(ctx))
	tryAlone(w.Outbox)
	for _, s := range []*outbox.Signup{decide, given, doubt} {
		w.exec(ctx, "UPDATE outbox_signups SET status = 'doubtful', created_at = $1, next_try_at = NULL WHERE id = $2",
			ago(11*time.Hour), s.ID)
	}
	if err := w.GiveUp(ctx, given.ID, "anna"); err != nil {
		panic(err)
	}
	w.exec(ctx, `UPDATE outbox_signups SET created_at = $1, settled_at = $1
		WHERE id IN (SELECT id FROM outbox_signups WHERE status = 'registered' LIMIT 20)`, ago(72*time.Hour))
	req := w.lead()
	must(w.Add(ctx, req))
	req.Email = "corrected.by.visitor@example.com"
	s := must(w.Add(ctx, req))
	if err := w.Correct(ctx, s.ID, outbox.Correction{Phone: "+41795559999"}, "anna"); err != nil {
		panic(err)
	}
}
