// Command clixnow is for people who use the Clixnow affiliate lead API and do
// not write Go. Run "clixnow --help".
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/doctor"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/importer"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/lead"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/mock"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/postback"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/reconcile"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/report"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/sync"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After stop, a second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	a := &app.App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
	os.Exit(execute(ctx, a, commands(a), os.Args[1:]))
}

// execute runs a command and returns the exit code.
func execute(ctx context.Context, a *app.App, root *cobra.Command, args []string) int {
	defer a.Close()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(a.Err, "clixnow:", app.Explain(err))
	}
	return app.Code(err)
}

// commands returns the command clixnow with all its subcommands.
func commands(a *app.App) *cobra.Command {
	return app.Root(a,
		doctor.Command(a),
		gateway.Backup(a),
		gateway.Serve(a),
		gateway.Texts(),
		gateway.Work(a),
		importer.Command(a),
		lead.Command(a),
		mock.Command(a),
		postback.Command(a),
		reconcile.Command(a),
		report.Command(a),
		sync.Command(a),
	)
}
