// Command clixnow is for people who use the Clixnow affiliate lead API and do
// not write Go. Run "clixnow --help".
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/doctor"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/lead"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After stop, a second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx))
}

func run(ctx context.Context) int {
	a := &app.App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
	defer a.Close()
	root := app.Root(a,
		doctor.Command(a),
		lead.Command(a),
	)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(a.Err, "clixnow:", app.Explain(err))
	}
	return app.Code(err)
}
