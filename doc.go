// Package clixnow is a client of the Clixnow affiliate lead API. It registers
// leads at a brand, and reads their status and first deposit (FTD). It is not
// made by Clixnow.
//
//	client, err := clixnow.NewClient("acme", os.Getenv("CLIXNOW_TOKEN"))
//	if err != nil {
//		return err
//	}
//	lead, err := client.EnsureLead(ctx, clixnow.CreateLeadRequest{
//		FirstName: "Allison", LastName: "Brown", CountryCode: "CH",
//		Email: email, Phone: "+41123456789", Password: password,
//		ClickID: clickID, // unique for each sign-up
//	})
//
// By task:
//
//   - [Client.EnsureLead] registers a lead exactly once, also if a response is
//     lost. [Client.EnsureLeadSince] does so after the process has died.
//   - [Client.CreateLead] sends a lead once and returns what happened.
//   - [Client.CreateLeads] registers many leads.
//   - [ParseLandingURL] and [LandingURL.Apply] copy the tracking of a visit
//     into a lead. [CreateLeadRequest.DropInvalidOptional] drops broken values.
//   - [Client.SearchLeads] reads all leads that match, [Client.SearchLeadsPage]
//     one page of them, and [Client.GetLead] one lead. [Client.FindLeads] finds
//     a lead by its email or click id.
//   - [Client.LeadChanges] keeps a copy of the leads current. [LeadEvents] says
//     what changed: a new lead, a status, a first deposit.
//   - Package [github.com/clixnow/clixnow-go/router] sends a lead to one of
//     several brands.
//   - Package [github.com/clixnow/clixnow-go/clixnowtest] is a fake API for
//     tests.
//
// # Errors
//
// Every error of a create is of exactly one of four classes:
//
//	switch clixnow.OutcomeOf(err) {
//	case clixnow.OutcomeRegistered:
//		// The lead exists.
//	case clixnow.OutcomeUnknown:
//		// The lead may exist. Only EnsureLeadSince may send it again.
//	case clixnow.OutcomeRefused:
//		// Nothing was created. ReasonOf says what to do.
//	case clixnow.OutcomeNotSent, clixnow.OutcomeRateLimited:
//		// Nothing was created. Send the request again later.
//	}
//
// [ErrOutcomeUnknown] and the errors beside it explain the classes. [ReasonOf]
// says why a lead was refused and what to do. [errors.As] finds the details: an
// [*APIError] or a [*ValidationError].
//
// # Retries
//
// A GET is retried after a connection failure and after 408, 429, 500, 502,
// 503, 504 and 520 to 524. See [RetryPolicy]. A create is sent again only if it
// provably never reached the server, or was answered 429, or was answered 401
// and there is a new token. Redirects are never followed.
//
// # Paging
//
// The API pages by count and skip, and leads move while they are read.
// [Client.SearchLeads] still yields each lead that stays in the result exactly
// once, or ends with [ErrUnstableResults].
//
// # Secrets
//
// The token, passwords and redirect URLs are in no error text, no log line and
// no output of fmt and slog for the types of this package. encoding/json is for
// storing and sending, so it writes a request and a response in full. There are
// two exceptions. slog's JSON handler encodes all of a struct, slice or map of
// yours. fmt reaches an unexported field of a struct of yours without calling
// the methods that hide secrets.
package clixnow
