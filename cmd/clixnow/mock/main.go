// Command mock serves a fake Clixnow API. Programs in any language can be
// developed and tested with it:
//
//	go run github.com/clixnow/clixnow-go/cmd/clixnow/mock -addr 127.0.0.1:8080
//
// It prints its address, its token and two curl commands to try. Then it prints
// a line for each request. Its web page at /_mock/ lists leads, requests and
// faults, marks deposits and changes statuses. Everything is in memory, and
// lost when the program stops. It keeps the last 100 requests. The flags are
// explained by -h.
//
// # Control endpoint
//
// A test suite can do over HTTP what the page does. Request bodies are read as
// JSON, with any Content-Type, and no token is needed. If a request is refused,
// the response is {"message": "..."} with status 400, or with status 404 if
// there is no such lead.
//
// The lead requests:
//
//	GET    /_mock/leads         returns all leads, also those that searches
//	                            do not show yet
//	POST   /_mock/leads         adds a list of leads, as the broker would;
//	                            a lead with a known id replaces the old one
//	PATCH  /_mock/leads/123456  changes a lead: {"status":"Call back"},
//	                            {"deposited":true}, or both; returns 204
//	DELETE /_mock/leads/123456  removes the lead
//
// The other requests:
//
//	GET    /_mock/requests      returns the requests in the log, oldest first;
//	                            status 0 means that the connection was cut
//	GET    /_mock/faults        returns the pending faults
//	POST   /_mock/faults        adds a list of faults after the pending ones:
//	                            ["POST status=503 times=2", "drop=mid-body"]
//	DELETE /_mock/faults        removes the pending faults
//	POST   /_mock/reset         restores the leads of -seed and the faults of
//	                            -fault, and removes all requests
//
// # Faults
//
// A fault applies to the next request that it matches. It is written in the
// same way in -fault, on the page and in requests:
//
//	POST status=503 times=2             The next two creates are answered 503.
//	                                    GET means searches. Without GET and
//	                                    POST, any request matches.
//	POST status=502 handle-first        A lead is created, and the response
//	                                    is 502.
//	POST drop=after-handling            A lead is created, and the connection
//	                                    is cut. The other values are
//	                                    before-handling and mid-body.
//	delay=40s                           The response is delayed, by 10m at
//	                                    most.
//	status=429 header=Retry-After:5     The response has a header. Its value
//	                                    has no spaces. header can be repeated.
//	status=400 body={"message":"No."}   The response has a body. It must come
//	                                    last, and it can have spaces.
//	POST times=3                        Nothing happens to the next three
//	                                    creates, so that the faults after this
//	                                    one apply later.
//
// # Log
//
// Times are in UTC. The log shows leads only by their ids. It shows the values
// only of query parameters that the API has. It never shows the token or a
// body. For a 401 it shows what was wrong with the header.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

const help = `mock serves a fake Clixnow API on this machine, for developing and testing programs in any language.

  go run github.com/clixnow/clixnow-go/cmd/clixnow/mock

listens on 127.0.0.1:8080 and prints what to try. Examples with flags:

  mock -seed leads.json -page-limit 100    starts with leads, and returns at most 100 leads in a page
  mock -fault 'POST status=503 times=2'    answers the first two creates with 503

The API:
  -addr HOST:PORT       the address to listen on (default 127.0.0.1:8080); port 0 means any free port
  -brand NAME           the name of the brand
  -token TOKEN          the only token that it accepts; do not use a real one, because it is printed
  -seed FILE            the leads at the start, as in a search result: a JSON array, or one lead per line

What an API may do:
  -page-limit N         return at most N leads in a page, 10 or more, even if count asks for more
  -envelope KEY         answer searches with {"KEY": [...]} instead of [...]
  -hide FIELDS          leave fields out of search results: email,ftdDate
  -search-delay TIME    show a new or changed lead in searches only after this time: 5s
  -no-duplicate-check   accept a create with a known email or phone

Faults:
  -fault FAULT          add a fault for the next matching requests; several -fault apply in their order;
                        FAULT is a list of these words:
                          GET or POST       match only these requests
                          times=2           apply to two requests
                          status=503        answer with this status and do not handle the request
                          header=NAME:TEXT  add a header to that response; it has no spaces
                          handle-first      handle the request before the rest: created, but answered with 503
                          delay=40s         wait before the rest, 10m at most
                          drop=WHEN         cut the connection: before-handling, after-handling or mid-body
                          body=TEXT         the body of the response with status; it takes the rest of the text

While mock runs, it serves a web page at /_mock/, and a control endpoint for test suites. For the endpoint, see

  go doc github.com/clixnow/clixnow-go/cmd/clixnow/mock
`

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mock:", err)
	}
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		os.Exit(1)
	}
}

var errUsage = errors.New("see -h for the flags")

// run serves until a signal arrives or ctx ends.
func run(ctx context.Context, args []string, out, errs io.Writer) error {
	set, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, help)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; %w", err, errUsage)
	}
	m, err := newMock(set, out)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", set.addr)
	if err != nil {
		return fmt.Errorf("%w; choose another -addr: 127.0.0.1:0 means any free port", err)
	}
	server := &http.Server{
		Handler: m, ErrorLog: log.New(errs, "mock: ", 0), MaxHeaderBytes: 64 << 10,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: maxDelay + time.Minute,
		IdleTimeout: 2 * time.Minute,
	}
	ctx, stopNotify := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stopNotify()
	stopped := make(chan error, 1)
	cancel := context.AfterFunc(ctx, func() {
		stopNotify() // a second signal ends the program at once
		stopped <- m.stop(context.WithoutCancel(ctx), server)
	})
	defer cancel()
	m.greet(listener.Addr().(*net.TCPAddr), errs) // from here on, it can be reached and stopped
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return <-stopped
}

// settings holds the values of the flags.
type settings struct {
	addr, seed string
	options    []clixnowtest.Option
	faults     []clixnowtest.Fault
}

func parse(args []string) (set settings, err error) {
	flags := flag.NewFlagSet("mock", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error, and help is more readable than the text of flag
	flags.StringVar(&set.addr, "addr", "127.0.0.1:8080", "")
	flags.StringVar(&set.seed, "seed", "", "")
	add := func(option clixnowtest.Option) { set.options = append(set.options, option) }
	flags.Func("brand", "", func(brand string) error { add(clixnowtest.WithBrand(brand)); return nil })
	flags.Func("envelope", "", func(key string) error { add(clixnowtest.WithEnvelope(key)); return nil })
	flags.BoolFunc("no-duplicate-check", "",
		func(string) error { add(clixnowtest.WithoutDuplicateCheck()); return nil })
	flags.Func("token", "", func(token string) error {
		isInvalid := func(r rune) bool { return r <= ' ' || r > '~' || r == '\'' }
		if token == "" || strings.ContainsFunc(token, isInvalid) {
			return errors.New("the token must be ASCII without spaces and apostrophes, " +
				"because it is used in a header and in a shell command")
		}
		add(clixnowtest.WithToken(token))
		return nil
	})
	flags.Func("page-limit", "", func(text string) error {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 10 {
			return errors.New("the page limit must be a number of at least 10, which is the API's default for count")
		}
		add(clixnowtest.WithPageLimit(limit))
		return nil
	})
	flags.Func("search-delay", "", func(text string) error {
		delay, err := time.ParseDuration(text)
		if err != nil || delay < 0 {
			return errors.New("the delay must be a time with a unit: 300ms, 5s")
		}
		add(clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration { return delay }))
		return nil
	})
	flags.Func("hide", "", func(text string) error {
		const known = "id,email,status,crmId,brandId,brandName,createdOn,updatedOn,ftdDate,clickId,sub2," +
			"subCampaign,keyword,placement,clientType"
		for name := range strings.SplitSeq(text, ",") {
			if !slices.Contains(strings.Split(known, ","), name) {
				return errors.New("the fields of a lead are " + known)
			}
			add(clixnowtest.WithHiddenFields(name))
		}
		return nil
	})
	flags.Func("fault", "", func(text string) error {
		fault, err := parseFault(text)
		set.faults = append(set.faults, fault)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	if flags.NArg() > 0 {
		return set, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return set, nil
}
