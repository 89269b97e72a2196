// Package app holds what the commands of clixnow share: streams and flags, the
// configuration, the client, exit codes, and the formats of leads.
package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"golang.org/x/term"
	"golang.org/x/time/rate"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// App is what a command gets. Root sets its flags. Call Close at the end.
type App struct {
	// In, Out and Err are the standard streams.
	In       io.Reader
	Out, Err io.Writer
	// Getenv returns a variable of the environment.
	Getenv func(string) string

	// These are the values of the flags --brand, --base-url, --token-file,
	// --config and --demo. The zero value means that the flag was not given.
	Brand, BaseURL, TokenFile, ConfigFile string
	Demo                                  bool
	// RetryTokens means that Clients only warns of a token that cannot be read,
	// unless none can be read. The clients read it again for each request.
	RetryTokens bool
	// Options are applied to each client, before those of the command. Tests
	// replace the network by them. Nil means none.
	Options []clixnow.Option

	// demo is the fake brand of --demo. It is nil until the first use.
	demo *clixnowtest.Server
	// warned means that Settings has warned about the environment.
	warned bool
}

// Client returns a client of the brand that flags, environment and
// configuration select. With --demo it returns a client of a fake brand on
// loopback. opts are applied last. Client sends nothing.
func (a *App) Client(ctx context.Context, opts ...clixnow.Option) (*clixnow.Client, error) {
	settings, err := a.Settings()
	if err != nil {
		return nil, err
	}
	if a.Demo {
		return a.DemoServer().Client(opts...), nil
	}
	if _, err := settings.Token(ctx); err != nil {
		return nil, err
	}
	return settings.client(slices.Concat(a.Options, opts))
}

// client returns a client with these settings.
func (s Settings) client(opts []clixnow.Option) (*clixnow.Client, error) {
	all := []clixnow.Option{clixnow.WithUserAgent("clixnow-cli"), clixnow.WithTokenSource(s.Token)}
	if s.BaseURL != "" {
		all = append(all, clixnow.WithBaseURL(s.BaseURL))
	}
	if s.Rate > 0 {
		all = append(all, clixnow.WithRateLimiter(rate.NewLimiter(rate.Limit(s.Rate), 1)))
	}
	client, err := clixnow.NewClient(s.Brand, "", append(all, opts...)...)
	if err != nil {
		return nil, WithCode(CodeUsage, err)
	}
	return client, nil
}

// Clients returns a client for each configured brand, or only for the brand
// that --brand or the environment names.
func (a *App) Clients(ctx context.Context, opts ...clixnow.Option) ([]*clixnow.Client, error) {
	file, _, err := a.load()
	if a.Demo || err != nil || len(file.Brands) < 2 || cmp.Or(a.Brand, a.Getenv("CLIXNOW_BRAND")) != "" {
		client, err := a.Client(ctx, opts...)
		return []*clixnow.Client{client}, err
	}
	return a.clientsOf(ctx, slices.Sorted(maps.Keys(file.Brands)), opts)
}

// ClientsInOrder is Clients for these brands, unless --brand or the environment
// names one. Without brands it is Clients.
func (a *App) ClientsInOrder(
	ctx context.Context, brands []string, opts ...clixnow.Option,
) ([]*clixnow.Client, error) {
	if a.Demo || len(brands) == 0 || cmp.Or(a.Brand, a.Getenv("CLIXNOW_BRAND")) != "" {
		return a.Clients(ctx, opts...)
	}
	return a.clientsOf(ctx, brands, opts)
}

func (a *App) clientsOf(ctx context.Context, brands []string, opts []clixnow.Option) ([]*clixnow.Client, error) {
	names := []string{"CLIXNOW_TOKEN", "CLIXNOW_TOKEN_FILE", "CLIXNOW_BASE_URL"}
	isSet := func(name string) bool { return a.Getenv(name) != "" }
	if len(brands) > 1 && (a.TokenFile+a.BaseURL != "" || slices.ContainsFunc(names, isSet)) {
		_, path, _ := a.load() // it has just been read
		return nil, Usage("a token or an address on the command line or in the environment is for one brand, but %s "+
			"has several: give --brand", path)
	}
	var clients []*clixnow.Client
	var faults []error
	for _, brand := range brands {
		one := *a
		one.Brand = brand
		settings, err := one.Settings()
		if err != nil {
			return nil, err
		}
		if _, err := settings.Token(ctx); err != nil {
			faults = append(faults, err)
		}
		client, err := settings.client(slices.Concat(a.Options, opts))
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
	}
	if len(faults) > 0 && (!a.RetryTokens || len(faults) == len(clients)) {
		return nil, faults[0]
	}
	for _, err := range faults {
		fmt.Fprintf(a.Err, "clixnow: warning: %s; it is retried\n", Text(err))
	}
	return clients, nil
}

// Brands returns the name of each configured brand, or only that of the brand
// that --brand or the environment names. It returns no name without a
// configuration.
func (a *App) Brands() ([]string, error) {
	if brand := cmp.Or(a.Brand, a.Getenv("CLIXNOW_BRAND")); brand != "" {
		return []string{brand}, nil
	}
	file, _, err := a.load()
	if len(file.Brands) == 0 && file.Brand != "" {
		return []string{file.Brand}, err
	}
	return slices.Sorted(maps.Keys(file.Brands)), err
}

// SettingsOf returns the settings of a brand.
func (a *App) SettingsOf(brand string) (Settings, error) {
	one := *a
	one.Brand = brand
	return one.Settings()
}

// Interactive reports whether Err is a terminal. Only then do commands draw
// progress or ask questions.
func (a *App) Interactive() bool {
	return isTerminal(a.Err)
}

// Color reports whether Out may be coloured: if it is a terminal, and NO_COLOR
// is empty.
func (a *App) Color() bool {
	return isTerminal(a.Out) && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}

// Close stops the fake brand of --demo.
func (a *App) Close() {
	if a.demo != nil {
		a.demo.Close()
	}
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
