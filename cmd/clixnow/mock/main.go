// Command clixnow-mock serves a made-up Clixnow API, to develop and test
// against in any language:
//
//	go run github.com/clixnow/clixnow-go/clixnowtest/clixnow-mock -addr 127.0.0.1:8080
//
// It prints its address, its token and two curl commands to try, then a line
// for each request. A page for a person, at /_mock/, lists leads, requests and
// faults, marks deposits and changes statuses. Everything is in memory: it is
// gone when the program stops, and the last 100 requests are all that it
// remembers of them. The flags are told by -h.
//
// # Control endpoint
//
// What the page does, a test suite does over HTTP. Bodies are JSON, whatever
// the Content-Type says, and no token is asked for. A refusal is {"message":
// "..."} with status 400, or 404 where there is no such lead.
//
//	GET    /_mock/leads         all leads, whatever searches show of them yet
//	POST   /_mock/leads         adds a list of leads, as the broker's side does; one with a used id replaces that lead
//	PATCH  /_mock/leads/123456  {"status":"Call back"}, {"deposited":true}, or both; answered 204
//	DELETE /_mock/leads/123456  removes the lead
//	GET    /_mock/requests      the requests that were logged, oldest first; status 0 where the connection was cut
//	GET    /_mock/faults        the faults that wait, each as it could be written
//	POST   /_mock/faults        adds a list of faults behind those that wait: ["POST status=503 times=2", "drop=mid-body"]
//	DELETE /_mock/faults        removes those that wait
//	POST   /_mock/reset         everything as at the start: the leads of -seed, the faults of -fault, no requests
//
// # Faults
//
// A fault strikes the next request that it matches, and is written the same in
// -fault, on the page and here:
//
//	POST status=503 times=2             the next two creates are answered 503; GET means searches, neither means any
//	POST status=502 handle-first        a lead is created, and the answer is 502
//	POST drop=after-handling            a lead is created, and the connection is cut; also before-handling and mid-body
//	delay=40s                           the answer comes late, by at most 10m
//	status=429 header=Retry-After:5     with a header, which has no blanks; header may be repeated
//	status=400 body={"message":"No."}   with a body, which comes last and may have blanks
//	POST times=3                        three creates pass, which postpones the faults after this one
//
// # What the log tells
//
// Times are UTC. Of leads it shows their ids only, and values only of the query
// parameters that the API knows. Neither the token nor a body is logged; a 401
// says what was wrong with the header.
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

const help = `clixnow-mock serves a made-up Clixnow API on this machine, to develop and test against in any language.

  clixnow-mock                                     listens on 127.0.0.1:8080, and prints what to try
  clixnow-mock -seed leads.json -page-limit 100    begins with leads, in pages of at most 100
  clixnow-mock -fault 'POST status=503 times=2'    answers the first two creates with 503

The API itself:
  -addr HOST:PORT       where to listen, 127.0.0.1:8080 at first; port 0 is any free one
  -brand NAME           part of the redirect URLs
  -token TOKEN          the one token that it accepts; a made-up one, since it is printed
  -seed FILE            leads to begin with, as searches return them: a JSON array, or one lead a line

What an API may do without saying so:
  -page-limit N         cut pages to N leads, 10 or more, whatever count asks for
  -envelope KEY         answer searches with {"KEY": [...]} instead of [...]
  -hide FIELDS          leave fields out of searches: email,ftdDate
  -search-delay TIME    show a new or changed lead in searches only after so long: 5s
  -no-duplicate-check   register a known email or phone again

What goes wrong:
  -fault FAULT          strike requests; repeat the flag for more, which come in order. FAULT is of these words:
                          GET or POST       those requests; neither means any
                          times=2           so many of them
                          status=503        answer this, instead of doing what is asked
                          header=NAME:TEXT  in that answer, without blanks
                          handle-first      do what is asked before the rest: created, but answered 503
                          delay=40s         wait before the rest, at most 10m
                          drop=WHEN         cut the connection: before-handling, after-handling or mid-body
                          body=TEXT         in the answer with status; takes all that follows

While it runs, /_mock/ is a page for a person, and a control endpoint for test suites: go doc tells what it takes.
`

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "clixnow-mock:", err)
	}
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		os.Exit(1)
	}
}

var errUsage = errors.New("-h tells what can be given")

// run serves until a signal comes, or ctx ends.
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
		return fmt.Errorf("%w; choose another -addr, 127.0.0.1:0 takes any free port", err)
	}
	server := &http.Server{
		Handler: m, ErrorLog: log.New(errs, "clixnow-mock: ", 0), MaxHeaderBytes: 64 << 10,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: maxDelay + time.Minute,
		IdleTimeout: 2 * time.Minute,
	}
	ctx, forget := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer forget()
	stopped := make(chan error, 1)
	cancel := context.AfterFunc(ctx, func() {
		forget() // a second signal ends the program at once
		stopped <- m.stop(context.WithoutCancel(ctx), server)
	})
	defer cancel()
	m.greet(listener.Addr().(*net.TCPAddr), errs) // when it can be reached, and stopped
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return <-stopped
}

// settings are what the flags say.
type settings struct {
	addr, seed string
	options    []clixnowtest.Option
	faults     []clixnowtest.Fault
}

func parse(args []string) (set settings, err error) {
	flags := flag.NewFlagSet("clixnow-mock", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error, and help is more readable than what flag makes
	flags.StringVar(&set.addr, "addr", "127.0.0.1:8080", "")
	flags.StringVar(&set.seed, "seed", "", "")
	add := func(option clixnowtest.Option) { set.options = append(set.options, option) }
	flags.Func("brand", "", func(brand string) error { add(clixnowtest.WithBrand(brand)); return nil })
	flags.Func("envelope", "", func(key string) error { add(clixnowtest.WithEnvelope(key)); return nil })
	flags.BoolFunc("no-duplicate-check", "",
		func(string) error { add(clixnowtest.WithoutDuplicateCheck()); return nil })
	flags.Func("token", "", func(token string) error {
		unfit := func(r rune) bool { return r <= ' ' || r > '~' || r == '\'' }
		if token == "" || strings.ContainsFunc(token, unfit) {
			return errors.New("it goes into a header and a command: ASCII without blanks and apostrophes")
		}
		add(clixnowtest.WithToken(token))
		return nil
	})
	flags.Func("page-limit", "", func(text string) error {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 10 {
			return errors.New("it must be a number from 10 on, which is how many leads the API shows unasked")
		}
		add(clixnowtest.WithPageLimit(limit))
		return nil
	})
	flags.Func("search-delay", "", func(text string) error {
		delay, err := time.ParseDuration(text)
		if err != nil || delay < 0 {
			return errors.New("it must be a time with its unit: 300ms, 5s")
		}
		add(clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration { return delay }))
		return nil
	})
	flags.Func("hide", "", func(text string) error {
		const known = "id,email,status,crmId,brandId,brandName,createdOn,updatedOn,ftdDate,clickId,sub2,subCampaign,keyword,placement,clientType"
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
		return set, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	return set, nil
}
