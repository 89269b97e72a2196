// Command landing serves a sign-up page. It registers each visitor as a lead,
// exactly once, and redirects the visitor to the brand. Without flags it uses a
// fake Clixnow on loopback and prints the address to open:
//
//	go run ./landing
//
// With -brand it uses the API:
//
//	CLIXNOW_TOKEN=... landing -brand acme -addr :8080 \
//		-url https://landing.example.com -trusted-proxies 10.0.0.0/8
//
// It keeps the registrations of the last minutes in memory. After SIGINT or
// SIGTERM it finishes the registrations that are in progress. This can take 90
// seconds, so do not kill it earlier. If several instances run behind one load
// balancer, they need sticky sessions. A page whose sign-ups must survive a
// crash has to write them to a queue first: see docs/exactly-once.md and the
// command outbox.
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

// parseFlags reads the options from the flags. If they are wrong, it ends the
// program. It reads the token from the environment, because other users of the
// machine can see flags.
func parseFlags(args []string) options {
	opts := options{token: os.Getenv("CLIXNOW_TOKEN")}
	flags := flag.NewFlagSet("landing", flag.ExitOnError)
	flags.StringVar(&opts.addr, "addr", "127.0.0.1:0", "the `address` to listen on; port 0 means any free port")
	flags.StringVar(&opts.brand, "brand", "",
		"register at this `brand`, with the token in CLIXNOW_TOKEN; if empty, at a fake Clixnow on loopback")
	flags.StringVar(&opts.api, "api", "",
		"the base `URL` of the API; if empty, https://integration.BRAND.clixnow.com")
	flags.Func("url",
		"the `URL` of this page for its visitors; it is sent as the referral URL; if empty, no referral URL is sent",
		func(text string) error {
			address, err := url.Parse(text)
			if err != nil || address.Host == "" || (address.Scheme != "https" && address.Scheme != "http") {
				return errors.New("must be like https://landing.example.com")
			}
			opts.url = *address
			return nil
		})
	flags.Func("trusted-proxies",
		"the `networks` of trusted proxies, such as 10.0.0.0/8,fd00::/8; X-Forwarded-For of others is ignored",
		func(text string) (err error) {
			opts.trusted, err = parseNetworks(text)
			return err
		})
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "landing serves a sign-up page that registers its visitors as leads.\n\n")
		flags.PrintDefaults()
	}
	_ = flags.Parse(args) // it ends the program if it fails
	return opts
}

// run serves the page until ctx ends. Then it finishes the registrations that
// are in progress.
func run(ctx context.Context, opts options, out io.Writer, logger *slog.Logger) error {
	if opts.brand == "" {
		fake := clixnowtest.NewServer()
		defer fake.Close()
		opts.brand, opts.token, opts.api = fake.Brand, fake.Token, fake.URL
		fmt.Fprintln(out, "This page registers at a fake Clixnow on loopback, and redirects to a page of it.")
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
	return serve(ctx, listener, newSite(newRegistrations(client, logger, opts.api), opts))
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
		WriteTimeout:      30 * time.Second, // must be longer than site.maxWait
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
		logger.Info("stopping after the registrations in progress are finished; a second signal stops at once")
	}
	s.registrations.finish() // visitors who are waiting are still served
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.WriteTimeout)
	defer cancel()
	if err := errors.Join(failure, server.Shutdown(ctx)); err != nil {
		return fmt.Errorf("serve visitors: %w", err)
	}
	return nil
}
