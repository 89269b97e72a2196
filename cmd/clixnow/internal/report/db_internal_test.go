package report

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/database"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// synchronize copies the leads of servers into a database, as of noon.
func synchronize(t *testing.T, address string, servers ...*clixnowtest.Server) *database.Database {
	t.Helper()
	db, err := database.Open(address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	m, err := mirror.Open(t.Context(), db.DB, db.Dialect)
	require.NoError(t, err)
	var opts mirror.RunOptions
	opts.Once = true
	for _, server := range servers {
		client := server.Client()
		defer client.CloseIdleConnections()
		opts.Clients = append(opts.Clients, client)
	}
	require.NoError(t, m.Run(t.Context(), opts))
	execute(t, db, "UPDATE mirror_brands SET caught_up_at = '2026-11-25T12:00:00.000000Z'")
	return db
}

func execute(t *testing.T, db *database.Database, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	require.NoError(t, err)
}

// addresses returns an empty database of each kind.
func addresses(t *testing.T) map[string]func(*testing.T) string {
	t.Helper()
	return map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { t.Helper(); return filepath.Join(t.TempDir(), "mirror.db") },
		"postgres": func(t *testing.T) string { t.Helper(); return postgrestest.New(t).URL },
	}
}

// TestMirror checks that both sources give the same report.
func TestMirror(t *testing.T) {
	t.Parallel()
	for name, address := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alpine := serve(t, sampleLeads(noon, 70, 1, 0), clixnowtest.WithBrand("alpine"))
			address := address(t)
			db := synchronize(t, address, alpine, serve(t, sampleLeads(noon, 70, .2, 1), clixnowtest.WithBrand("beta")))
			for _, flags := range [][]string{{"-o", "csv"}, {"-o", "json"}, {"--zone", "Asia/Kolkata"}} {
				want := reportOn(t, alpine, "", flags...)
				brand := append([]string{"--from", "2026-11-01", "--db", address}, flags...)
				r, err := runWith(t.Context(), &app.App{Brand: "alpine"}, nil, nil, brand...)
				require.NoError(t, err)
				assert.Equal(t, want, r.out.String())
				assert.Empty(t, r.messages.String())
			}
			r, err := run(t.Context(), false, nil, nil, "--db", address)
			require.NoError(t, err)
			assert.Contains(t, r.out.String(), "alpine, beta: leads of 27 Oct 2026 to 25 Nov 2026\n")

			// A deposit that was withdrawn does not count.
			withdrawn := 0
			for _, lead := range alpine.Leads() {
				if lead.HasFTD() && lead.CreatedOn.After(noon.AddDate(0, 0, -24)) {
					withdrawn++
					require.NoError(t,
						alpine.UpdateLead(lead.ID, func(lead *clixnow.Lead) { lead.FTDDate = time.Time{} }))
				}
			}
			require.Positive(t, withdrawn)
			synchronize(t, address, alpine)
			r, err = runWith(t.Context(), &app.App{Brand: "alpine"}, nil, nil, "--from", "2026-11-02", "--db", address)
			require.NoError(t, err)
			assert.Regexp(t, `\n FTDs of these leads +0 `, r.out.String())

			execute(t, db, "UPDATE mirror_brands SET caught_up_at = '2026-11-24T11:59:59.000000Z' WHERE brand = 'beta'")
			page := filepath.Join(t.TempDir(), "report.html")
			r, err = run(t.Context(), false, nil, nil, "--db", address, "--page", page)
			require.NoError(t, err)
			assert.Contains(t, r.messages.String(),
				`no news of "beta" since 2026-11-24T11:59:59Z; does "clixnow sync" run?`)
			html, err := os.ReadFile(page)
			require.NoError(t, err)
			for _, text := range []string{r.out.String(), string(html)} {
				text = strings.ReplaceAll(text, "\n", " ")
				assert.Contains(t, text, "As of 24 Nov 2026, 11:59 (UTC).")
				assert.Contains(t, text, "no news of beta since 24 Nov 2026, 11:59.")
			}
			r, err = run(t.Context(), false, nil, nil, "--db", address, "-o", "json")
			require.NoError(t, err)
			assert.Contains(t, r.out.String(), `"asOf":"2026-11-24T11:59:59Z"`)

			// A part of the leads would look complete.
			execute(t, db, "UPDATE mirror_brands SET caught_up_at = NULL WHERE brand = 'beta'")
			r, err = run(t.Context(), false, nil, nil, "--db", address)
			require.ErrorContains(t, err, `does not have all leads of "beta" yet`)
			assert.Equal(t, app.CodeLater, app.Code(err))
			assert.Empty(t, r.out.String())
		})
	}
}

// TestBrandsOfMirror checks which brands of a database are reported.
func TestBrandsOfMirror(t *testing.T) {
	t.Parallel()
	both := "[brands.acme]\ntoken_env = \"A\"\n[brands.beta]\ntoken_env = \"B\"\n"
	tests := []struct {
		name, brand, config, title string
		leads                      int
		warning, fault             string
	}{
		{"no configuration", "", "", "acme, beta, demo", 3, "", ""},
		{"configuration without demo", "", both, "acme, beta", 2, `the configuration does not have "demo"`, ""},
		{"one brand", "beta", both, "beta", 1, "", ""},
		{"brand of the database that is not configured", "demo", both, "demo", 1, "", ""},
		{
			"one configured brand", "", "[brands.acme]\ntoken_env = \"A\"\n",
			"acme", 1, `does not have "beta", "demo"`, "",
		},
		{"default brand only", "", "brand = \"acme\"\n", "acme", 1, `does not have "beta", "demo"`, ""},
		{
			"configured brand that was never synced", "", both + "[brands.gamma]\ntoken_env = \"G\"\n", "", 0, "",
			`the database has no brand "gamma"; run "clixnow sync" for it, or select another one by --brand; ` +
				"nothing was written",
		},
		{"wrong configuration", "", "[brands", "", 0, "", "config.toml:1"},
	}
	file := filepath.Join(t.TempDir(), "mirror.db")
	for _, brand := range []string{"acme", "beta", "demo"} {
		lead := clixnow.Lead{Email: "a@example.com", CreatedOn: noon.AddDate(0, 0, -1)}
		synchronize(t, file, serve(t, []clixnow.Lead{lead}, clixnowtest.WithBrand(brand)))
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := filepath.Join(t.TempDir(), "config.toml")
			require.NoError(t, os.WriteFile(config, []byte(test.config), 0o600))
			environment := map[string]string{"CLIXNOW_CONFIG": config}
			r, err := runWith(t.Context(), &app.App{Brand: test.brand}, environment, nil, "--db", file)
			if test.fault != "" {
				require.ErrorContains(t, err, test.fault)
				assert.Equal(t, app.CodeUsage, app.Code(err))
				assert.Empty(t, r.out.String())
				return
			}
			require.NoError(t, err)
			assert.Contains(t, r.out.String(), test.title+": leads of ")
			assert.Regexp(t, fmt.Sprintf(`\n Leads signed up +%d `, test.leads), r.out.String())
			if test.warning == "" {
				assert.Empty(t, r.messages.String())
			} else {
				assert.Contains(t, r.messages.String(), test.warning)
			}
		})
	}
}

func TestMirrorFaults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mirror.db")
	_, err := run(t.Context(), false, nil, nil, "--db", file)
	require.ErrorContains(t, err, "give another --db")
	assert.Equal(t, app.CodeUsage, app.Code(err))
	assert.NoFileExists(t, file)

	synchronize(t, file)
	_, err = run(t.Context(), false, nil, nil, "--db", file)
	require.EqualError(t, err, "the database has no leads yet; run \"clixnow sync\" until it has caught up; "+
		"nothing was written")
	assert.Equal(t, app.CodeLater, app.Code(err))

	synchronize(t, file, serve(t, nil, clixnowtest.WithBrand("beta")))
	_, err = runWith(t.Context(), &app.App{Brand: "alpine"}, nil, nil, "--db", file)
	require.ErrorContains(t, err, `the database has no brand "alpine"`)
	assert.Equal(t, app.CodeUsage, app.Code(err))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := run(ctx, false, nil, nil, "--db", file)
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, r.out.String())

	_, err = run(t.Context(), false, nil, nil, "--db", "postgres://me:secret@[::1/x")
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}
