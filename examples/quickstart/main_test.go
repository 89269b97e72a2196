package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const wantOutput = `1. Register a lead
   Anna: outcome registered, lead 123456, recovered false
      Redirect the visitor to a page of 127.0.0.1:PORT.

2. The response is lost: the lead is found, and not sent again
   Bruno: outcome registered, lead 123457, recovered true
      Its redirect URL is lost. Show a page that thanks the visitor.
   The brand has 2 leads.

3. Refusals
   Anna: outcome refused, reason duplicate
      Duplicate lead: already registered.
   Chloe: outcome refused, reason country
      Registration is not allowed for country FR
   Chloe: outcome refused, reason invalid
      password is missing

4. Search the leads of the last hour
   ID      EMAIL              STATUS  FIRST DEPOSIT  SUB-CAMPAIGN
   123456  anna@example.com   New     false          autumn
   123457  bruno@example.com  New     false          autumn

5. Follow changes until a first deposit
   lead 123456: created
   lead 123457: created
   lead 123456: status changed
   lead 123456: deposited
`

func TestRun(t *testing.T) { //nolint:paralleltest // goleak looks for goroutines of this test
	defer goleak.VerifyNone(t)
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	assert.Equal(t, wantOutput, regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(out.String(), "127.0.0.1:PORT"))
	for line := range strings.Lines(out.String()) {
		assert.LessOrEqual(t, len(line), 80, line)
	}
}
