// Package clixnow is a client of the Clixnow affiliate lead API: it registers
// leads at a brand, and reads back their status and first deposit (FTD). It is
// not made by Clixnow.
//
//	client, err := clixnow.NewClient("acme", os.Getenv("CLIXNOW_TOKEN"))
//
//	lead, err := client.CreateLead(ctx, clixnow.CreateLeadRequest{
//		FirstName: "Allison", LastName: "Brown", Email: email, Phone: "+41123456789",
//		Password: password, CountryCode: "CH",
//	})
//	// send the visitor to lead.RedirectURL
//
//	for lead, err := range client.SearchLeads(ctx, clixnow.SearchLeadsRequest{CreatedOnFrom: monday}) {
//		// handle err, which is the last one; then use lead.Status, lead.FTDDate
//	}
//
// By task:
//
//   - [Client.CreateLead] registers a lead, and answers at once what became of it.
//   - [Client.EnsureLead] registers it exactly once, where an answer is lost too; [Client.EnsureLeadSince] across the death of
//     the process, as from a queue.
//   - [Client.CreateLeads] registers many.
//   - [Client.SearchLeads] reads all leads that match, [Client.SearchLeadsPage] one page of them, [Client.GetLead] one lead.
//   - [Client.LeadChanges] keeps a copy current, and [LeadEvents] tells what happened: a new lead, a status, a first deposit.
//   - [ParseLandingURL] and [LandingURL.Apply] carry tracking from a visitor's URL into a create.
//   - Package [github.com/clixnow/clixnow-go/clixnowtest] is a fake API for tests.
//
// # Errors
//
// A failed create is exactly one of four things. Ask in this order:
//
//	lead, err := client.CreateLead(ctx, req)
//	switch {
//	case err == nil:                               // registered
//	case errors.Is(err, clixnow.ErrOutcomeUnknown): // the lead may exist: only EnsureLeadSince may send it again
//	case errors.Is(err, clixnow.ErrRefused):        // nothing was created; it would be refused again
//	case errors.Is(err, clixnow.ErrNotSent):        // nothing was created; send it again later
//	case errors.Is(err, clixnow.ErrRateLimited):    // nothing was created; send it again later
//	}
//
// Why it was refused is told by [ErrDuplicateLead], [ErrCountryNotAllowed],
// [ErrInvalidRequest], [ErrUnauthorized] and their like, and in full by
// [*APIError] and [*ValidationError] with [errors.As].
//
// # Retries
//
// Searches are retried after a failed connection and after 408, 429, 500, 502,
// 503, 504 and 520 to 524; see [RetryPolicy]. A create is sent again only when
// it provably never reached the server, or was answered 429: never after a 5xx,
// a timeout or a cut connection, where the lead may exist. Redirects are never
// followed. One resend is net/http's own, after an HTTP/2 stream that the
// server reset by PROTOCOL_ERROR (golang/go#47635); a Transport without HTTP/2
// is free of it.
//
// # Paging
//
// The API pages by count and skip, and leads move while they are read.
// [Client.SearchLeads] still yields each lead that stays in the result exactly
// once, or says [ErrUnstableResults].
//
// # Secrets
//
// The token, passwords and redirect URLs appear in no error, log line or output
// of fmt and slog of this package's types. encoding/json is for storing and
// sending: it writes a request and a response whole. Hence one exception:
// slog's JSON handler encodes what is in a struct, slice or map of yours.
package clixnow
