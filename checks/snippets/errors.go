// Package snippets holds the code of README.md and docs/. A test checks that
// each code block there is here too. The other tests run it.
package snippets

import (
	"context"
	"errors"

	"github.com/clixnow/clixnow-go"
)

// classOf returns the name of the class of a create.
func classOf(ctx context.Context, client *clixnow.Client, req clixnow.CreateLeadRequest) (class string) {
	lead, err := client.CreateLead(ctx, req)
	switch {
	case err == nil:
		// The lead is registered. Send the visitor to lead.RedirectURL.
		class = lead.RedirectURL
	case errors.Is(err, clixnow.ErrOutcomeUnknown):
		// The lead may exist. Call EnsureLeadSince with the time of this call.
		class = "unknown"
	case errors.Is(err, clixnow.ErrRefused):
		// Nothing was created. clixnow.ReasonOf(err) says what to do.
		class = "refused"
	case errors.Is(err, clixnow.ErrNotSent):
		// Nothing was created. Try again later.
		class = "not sent"
	case errors.Is(err, clixnow.ErrRateLimited):
		// Nothing was created. Try again later.
		class = "rate limited"
	}
	return class
}
