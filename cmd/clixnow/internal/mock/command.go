// Package mock is the command "clixnow mock": a fake Clixnow API for programs
// in any language, with a web page and a control endpoint. Its help explains
// the flags, the faults and the endpoint.
//
// Everything is in memory, and lost when the command stops. It keeps the last
// 100 requests. What it prints shows leads only by their ids, and the values
// only of query parameters that the API has. It never shows a token, a password
// or a login link. The page and the endpoint also show what was registered.
package mock

import (
	"context"
	_ "embed" // for the help
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

//go:embed text/help.txt
var long string

// Command returns the command "mock".
func Command(a *app.App) *cobra.Command {
	set := new(settings)
	command := &cobra.Command{
		Use: "mock", Short: "Serve a fake Clixnow API for development and tests", Long: long,
		Example: `  clixnow mock --demo
  clixnow mock --seed leads.json --page-limit 100
  clixnow mock --fault 'POST status=503 times=2' --search-delay 5s`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := set.share(command.Context(), a); err != nil {
				return err
			}
			return serve(command.Context(), *set, a.Out, a.Err)
		},
	}
	set.define(command.Flags())
	return command
}

// serve serves until ctx ends.
func serve(ctx context.Context, set settings, out, errs io.Writer) error {
	m, err := newMock(set, out)
	if err != nil {
		return app.WithCode(app.CodeUsage, err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", set.addr)
	if err != nil {
		return app.Usage("%w; choose another --addr: 127.0.0.1:0 means any free port", err)
	}
	server := &http.Server{
		Handler: m, ErrorLog: log.New(errs, "mock: ", 0), MaxHeaderBytes: 64 << 10,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: maxDelay + time.Minute,
		IdleTimeout: 2 * time.Minute,
	}
	stopped := make(chan error, 1)
	cancel := context.AfterFunc(ctx, func() { stopped <- m.stop(context.WithoutCancel(ctx), server) })
	defer cancel()
	m.greet(listener.Addr().(*net.TCPAddr), errs) // from here on, it can be reached and stopped
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return app.Usage("serve: %w", err)
	}
	return <-stopped
}
