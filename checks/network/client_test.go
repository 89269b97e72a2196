package network_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

// The calls that a client makes.
const (
	callCreate  = "CreateLead"
	callEnsure  = "EnsureLead"
	callSearch  = "SearchLeads"
	callChanges = "LeadChanges"
)

const (
	testToken = "CfDJ8-s3cr3t-t0ken"
	password  = "Pa55word-s3cr3t!"
	pageSize  = 20
)

// plan is what a client process does.
type plan struct {
	Call string
	// Open means that the client has an open connection before the call.
	Open bool
	// Timeout is that of an attempt.
	Timeout time.Duration
	// BaseURL replaces that of the brand. "" means that of the brand.
	BaseURL string
	// Roots is the file of the roots that an injected http.Client trusts. ""
	// means that none is injected.
	Roots string
}

// report is the result of a call.
type report struct {
	// Outcome is that of a create.
	Outcome   clixnow.Outcome
	Recovered bool
	// Read holds the ids that a walk yielded.
	Read []int64
	// Err is "" if the call succeeded.
	Err string
}

const planVariable = "CLIXNOW_NETWORK_PLAN"

// runClient is the client process. It waits for a line on its standard input
// before each call, and writes a report after it. If EnsureLead fails, it calls
// it once more, as the consumer of a queue does.
func runClient(text string) error {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	net.DefaultResolver = &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(dnsAddress, "53"))
		},
	}
	client, err := p.client()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if p.Open {
		if _, err := client.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{Count: 1}); err != nil {
			return err
		}
	}
	input, output := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	next := func() error {
		_, err := input.ReadString('\n')
		return err
	}
	fmt.Println("ready")
	if err := next(); err != nil {
		return err
	}
	first := time.Now()
	result := p.run(ctx, client, time.Time{})
	if err := output.Encode(result); err != nil {
		return err
	}
	if p.Call == callEnsure && result.Outcome != clixnow.OutcomeRegistered {
		if err := next(); err != nil {
			return err
		}
		if result.Outcome != clixnow.OutcomeUnknown {
			first = time.Time{}
		}
		if err := output.Encode(p.run(ctx, client, first)); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, input) // until the test ends this process
	return err
}

func (p plan) client() (*clixnow.Client, error) {
	opts := []clixnow.Option{
		clixnow.WithTimeout(p.Timeout), clixnow.WithLooks(100 * time.Millisecond),
		clixnow.WithRetry(clixnow.RetryPolicy{
			MaxAttempts: 2, MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		}),
	}
	if p.BaseURL != "" {
		opts = append(opts, clixnow.WithBaseURL(p.BaseURL), clixnow.WithInsecureHTTP())
	}
	if p.Roots != "" {
		data, err := os.ReadFile(p.Roots)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(data)
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		opts = append(opts, clixnow.WithHTTPClient(&http.Client{Transport: transport}))
	}
	return clixnow.NewClient("acme", testToken, opts...)
}

func (p plan) run(ctx context.Context, client *clixnow.Client, first time.Time) report {
	switch p.Call {
	case callCreate:
		_, err := client.CreateLead(ctx, lead())
		return report{Outcome: clixnow.OutcomeOf(err), Err: message(err)}
	case callEnsure:
		response, err := client.EnsureLeadSince(ctx, lead(), first)
		return report{
			Outcome: clixnow.OutcomeOf(err), Err: message(err), Recovered: response != nil && response.Recovered,
		}
	case callSearch:
		return walk(client.SearchLeads(ctx, clixnow.SearchLeadsRequest{Count: pageSize}))
	default:
		return walk(client.LeadChanges(ctx, clixnow.LeadChangesRequest{PageSize: pageSize}))
	}
}

func walk(leads iter.Seq2[clixnow.Lead, error]) report {
	var r report
	for lead, err := range leads {
		if err != nil {
			r.Err = message(err)
			break
		}
		r.Read = append(r.Read, lead.ID)
	}
	return r
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// lead returns the lead that the clients register. Its comment makes the
// request longer than the packets that fit into a narrow network.
func lead() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown-Zweifel", Email: "allison@leads.example", Phone: "+41551234567",
		Password: password, CountryCode: "CH", ClickID: "click-1", Comment: strings.Repeat("comment ", 100),
	}
}
