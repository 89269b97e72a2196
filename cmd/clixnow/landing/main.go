// Command landing is a sign-up page: it registers its visitors as leads, each
// exactly once, and sends them on to the brand. Without flags it runs against a
// fake Clixnow on loopback and prints the address to open. Against the real
// API:
//
//	CLIXNOW_TOKEN=... landing -brand acme -addr :8080 -url https://landing.example.com -trusted-proxies 10.0.0.0/8
//
// It keeps the registrations of the last minutes in its memory. SIGINT and
// SIGTERM let those that are under way finish, which can take 90 seconds: allow
// it that before it is killed. Several of these behind one balancer need sticky
// sessions. One that has to survive a crash writes its sign-ups to a queue
// first; "From a queue" in the README of clixnow-go shows how that one
// registers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

type options struct {
	addr, brand, api, token string
	url                     url.URL
	trusted                 []netip.Prefix
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, parseFlags(os.Args[1:]), os.Stdout, logger); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// parseFlags ends the program where they are wrong. The token is none of them:
// other users of a machine see its flags.
func parseFlags(args []string) options {
	opts := options{token: os.Getenv("CLIXNOW_TOKEN")}
	flags := flag.NewFlagSet("landing", flag.ExitOnError)
	flags.StringVar(&opts.addr, "addr", "127.0.0.1:0", "listen on this `address`; port 0 is any free one")
	flags.StringVar(&opts.brand, "brand", "",
		"register at this `brand`, with the token in CLIXNOW_TOKEN; empty: at a fake Clixnow on loopback")
	flags.StringVar(&opts.api, "api", "",
		"base `URL` of the API, where it is not https://integration.BRAND.clixnow.com")
	flags.Func("url",
		"`URL` under which visitors reach this page, sent along as the referral URL; empty: none is sent",
		func(text string) error {
			address, err := url.Parse(text)
			if err != nil || address.Host == "" || (address.Scheme != "https" && address.Scheme != "http") {
				return errors.New("must be like https://landing.example.com")
			}
			opts.url = *address
			return nil
		})
	flags.Func("trusted-proxies",
		"`networks`, such as 10.0.0.0/8,fd00::/8, whose X-Forwarded-For is believed; empty: nobody's",
		func(text string) (err error) {
			opts.trusted, err = parseNetworks(text)
			return err
		})
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "landing serves a sign-up page that registers its visitors as leads.\n\n")
		flags.PrintDefaults()
	}
	_ = flags.Parse(args) // it has ended the program where it failed
	return opts
}

// run serves the page until ctx ends, and then until the registrations under
// way are done.
func run(ctx context.Context, opts options, out io.Writer, logger *slog.Logger) error {
	if opts.brand == "" {
		fake := clixnowtest.NewServer()
		defer fake.Close()
		opts.brand, opts.token, opts.api = fake.Brand, fake.Token, fake.URL
		fmt.Fprintln(out,
			"Registers at a fake Clixnow. It sends its leads on to https://broker.example, which does not exist.")
	}
	client, err := connect(opts, logger)
	if err != nil {
		return fmt.Errorf("connect to Clixnow: %w", err)
	}
	defer client.CloseIdleConnections()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", opts.addr)
	if err != nil {
		return fmt.Errorf("listen for visitors: %w", err)
	}
	fmt.Fprintf(out, "Open http://%s/?subcampaign=autumn&sub2=banner\n", listener.Addr())
	return serve(ctx, listener, newSite(newRegistrations(client, logger), opts))
}

func connect(opts options, logger *slog.Logger) (*clixnow.Client, error) {
	if opts.token == "" {
		return nil, errors.New("the environment variable CLIXNOW_TOKEN is not set")
	}
	more := []clixnow.Option{clixnow.WithLogger(logger), clixnow.WithUserAgent("landing")}
	if opts.api != "" {
		more = append(more, clixnow.WithBaseURL(opts.api))
	}
	return clixnow.NewClient(opts.brand, opts.token, more...)
}

func serve(ctx context.Context, listener net.Listener, s *site) error {
	logger := s.registrations.logger
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second, // more than the patience of an answer
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	var failure error
	select {
	case failure = <-ended:
	case <-ctx.Done():
		logger.Info("stopping: the registrations under way are finished first; a second signal gives them up")
	}
	s.registrations.finish() // visitors who wait are still served
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.WriteTimeout)
	defer cancel()
	if err := errors.Join(failure, server.Shutdown(ctx)); err != nil {
		return fmt.Errorf("serve visitors: %w", err)
	}
	return nil
}
