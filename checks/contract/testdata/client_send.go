package clixnow

import (
	"context"

	"github.com/clixnow/clixnow-go/internal/call"
)

// send notes whether the client judges its requests, which the transport cannot
// know, and sends.
func (c *Client) send(ctx context.Context, r *request) (call.Outcome, error) {
	if ctx != nil {
		ctx = call.WithUnvalidated(ctx, !c.validate)
	}
	return c.unrecordedSend(ctx, r)
}
