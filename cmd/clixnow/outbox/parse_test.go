package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	const postgres = "postgres://db.example.com/outbox"
	tests := []struct {
		name, args, token string
		// database is the expected database. It is "" if there is a problem.
		database string
		problem  string
	}{
		{"no arguments", "", "", "", "help"},
		{"unknown command", "sing", "", "", "help"},
		{"help", "serve -h", "", "", "help"},
		{"unexpected argument", "serve now", "", "", "help"},
		{"unknown flag", "serve -token x", "", "", "help"},
		{"fake", "serve", "", "outbox-fake.db", ""},
		{"brand", "serve -brand acme", "x", "outbox-acme.db", ""},
		{"brand without a token", "serve -brand acme", "", "", "CLIXNOW_TOKEN"},
		{"work", "work -brand acme -db " + postgres, "x", postgres, ""},
		{"work with SQLite", "work -brand acme", "x", "", "only one process can use SQLite"},
		{"work with the fake", "work -db " + postgres, "x", "", "needs -brand"},
		{"no workers", "serve -workers 0", "", "", "-workers"},
		{"too short try", "serve -try 1ms", "", "", "-try"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("CLIXNOW_TOKEN", test.token)
			var out strings.Builder
			c, err := parse(strings.Fields(test.args), &out)
			if test.problem == "" {
				require.NoError(t, err)
				assert.Equal(t, test.database, c.database)
				assert.Equal(t, strings.HasPrefix(test.args, "serve"), c.serve)
				return
			}
			require.ErrorContains(t, err, test.problem)
			if test.problem == "help" {
				require.ErrorIs(t, err, flag.ErrHelp)
				assert.Contains(t, out.String(), "outbox serve [flags]")
			}
		})
	}
}
