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
		database          string // where it is accepted
		problem           string
	}{
		{"nothing", "", "", "", "help"},
		{"unknown command", "sing", "", "", "help"},
		{"help", "serve -h", "", "", "help"},
		{"an argument too many", "serve now", "", "", "help"},
		{"no such flag", "serve -token x", "", "", "help"},
		{"the fake", "serve", "", "outbox-fake.db", ""},
		{"a brand", "serve -brand acme", "x", "outbox-acme.db", ""},
		{"a brand without a token", "serve -brand acme", "", "", "CLIXNOW_TOKEN"},
		{"work", "work -brand acme -db " + postgres, "x", postgres, ""},
		{"work on SQLite", "work -brand acme", "x", "", "SQLite is for one process"},
		{"work with the fake", "work -db " + postgres, "x", "", "needs -brand"},
		{"no workers", "serve -workers 0", "", "", "-workers"},
		{"no time", "serve -try 1ms", "", "", "-try"},
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
