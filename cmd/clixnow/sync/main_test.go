package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go/clixnowtest"
)

// childEnv is set if a test starts this binary as the program.
const childEnv = "CLIXNOW_SYNC_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestDemo(t *testing.T) {
	t.Parallel()
	var out, logs strings.Builder
	require.NoError(t, run(t.Context(), []string{"-once", "-demo-leads", "3"}, "", &out, &logs))
	assert.Equal(t, 3, strings.Count(out.String(), "created"), out.String())
	assert.Contains(t, logs.String(), "caught up")
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-h"}, "", &out, io.Discard))
	for _, want := range []string{"Usage: sync", "CLIXNOW_TOKEN", "-brand name", "-db file", "-once", "-poll time"} {
		assert.Contains(t, out.String(), want)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	unauthorized := clixnowtest.NewServer(clixnowtest.WithToken("another"))
	t.Cleanup(unauthorized.Close)
	answering := func(status int) string {
		server := clixnowtest.NewServer(clixnowtest.WithToken("token"))
		t.Cleanup(server.Close)
		server.Inject(clixnowtest.Fault{Status: status, Times: 3})
		return server.URL
	}
	tests := map[string]struct {
		args string
		code int
		want []string
	}{
		"unknown flag":       {"-x", 2, []string{"-x"}},
		"argument":           {"leads.db", 2, []string{`unexpected argument "leads.db"`}},
		"negative poll":      {"-poll -1s", 2, []string{"-poll"}},
		"URL without brand":  {"-url http://127.0.0.1:1", 2, []string{"-brand"}},
		"invalid brand":      {"-brand a/b -once", 2, []string{"brand"}},
		"wrong token":        {"-brand acme -url " + unauthorized.URL, 3, []string{"401", "CLIXNOW_TOKEN"}},
		"forbidden":          {"-brand acme -url " + answering(403), 3, []string{"403", "manager"}},
		"redirect":           {"-brand acme -url " + answering(302), 3, []string{"302", "-url"}},
		"wrong host":         {"-brand acme -url " + answering(404), 3, []string{"404", "-url"}},
		"server error, once": {"-brand acme -once -url " + answering(503), 1, []string{"503", "again"}},
		"database in a missing folder": {
			"-brand acme -once -db " + filepath.Join(folder, "none", "a.db"), 1,
			[]string{"database: open"},
		},
		"database server that does not answer": {
			"-brand acme -once -db postgres://sync:s3cret@127.0.0.1:1/leads", 1,
			[]string{"database: open"},
		},
		"invalid database URL": {
			"-brand acme -once -db postgres://sync:s3cret@127.0.0.1:x/leads", 3,
			[]string{"not a valid URL"},
		},
		"database URL with another scheme": {
			"-brand acme -once -db mysql://sync:s3cret@127.0.0.1/leads", 3,
			[]string{"postgres://"},
		},
		"database keywords": {"-brand acme -once -db password=s3cret", 3, []string{"postgres://"}},
		"slash in the database password": {
			"-brand acme -once -db postgres://sync:s3/cret@127.0.0.1/leads", 3,
			[]string{"%2F"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs strings.Builder
			args := strings.Fields(test.args)
			if !strings.Contains(test.args, "-db") && test.code != 2 {
				args = append(args, "-db", filepath.Join(t.TempDir(), "leads.db"))
			}
			err := run(t.Context(), args, "token", io.Discard, &logs)
			require.Error(t, err)
			code, advice := explain(err)
			assert.Equal(t, test.code, code, err)
			shown := logs.String() + err.Error() + advice
			for _, want := range test.want {
				assert.Contains(t, shown, want)
			}
			assert.NotContains(t, shown, "s3")
		})
	}
}

func TestNoToken(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), []string{"-brand", "acme"}, "", io.Discard, io.Discard)
	require.ErrorIs(t, err, errUsage)
	assert.ErrorContains(t, err, "CLIXNOW_TOKEN")
}

// program runs sync with a fake API and a database.
type program struct {
	*clixnowtest.Server
	database  string
	out, logs lines
}

func newProgram(t *testing.T, database string, options ...clixnowtest.Option) *program {
	t.Helper()
	server := clixnowtest.NewServer(options...)
	t.Cleanup(server.Close)
	return &program{Server: server, database: database}
}

func (p *program) args(more ...string) []string {
	return append([]string{"-brand", p.Brand, "-url", p.URL, "-db", p.database}, more...)
}

func (p *program) run(ctx context.Context, more ...string) error {
	return run(ctx, p.args(more...), p.Token, &p.out, &p.logs)
}

// start starts the program in the background.
func (p *program) start(t *testing.T, more ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- p.run(ctx, more...) }()
	return r
}

type running struct {
	cancel context.CancelFunc
	ended  chan error
}

func (r *running) stop() error {
	r.cancel()
	return <-r.ended
}

// lines holds what a program has written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) lines() []string {
	text := l.String()
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 2*time.Minute, 5*time.Millisecond)
}
