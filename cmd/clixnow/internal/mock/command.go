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
	"cmp"
	"context"
	_ "embed" // for the help
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for --local-dates on systems without time zones

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clixnow/clixnow-go/clixnowtest"
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
	}
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := set.share(command.Context(), a); err != nil {
			return err
		}
		return serve(command.Context(), *set, a.Out, a.Err)
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

// settings holds the values of the flags.
type settings struct {
	addr, seed, state string
	// hosts holds the further names that requests may use.
	hosts []string
	// options select how the fake behaves, and behaviour says it in words.
	options   []clixnowtest.Option
	behaviour []string
	lag       time.Duration
	firstID   int64
	faults    []clixnowtest.Fault
	// tokenFile is "" if the token is the made-up one.
	tokenFile string
	isDemo    bool
	// demo returns a fake with leads for trying the page.
	demo func() *clixnowtest.Server
}

// share takes over what the flags of all commands select.
func (set *settings) share(ctx context.Context, a *app.App) error {
	set.tokenFile, set.isDemo, set.demo = a.TokenFile, a.Demo, a.DemoServer
	brand := cmp.Or(a.Brand, "acme")
	set.options = append(set.options, clixnowtest.WithBrand(brand))
	if set.firstID < 1 || set.firstID > maxID {
		return app.Usage("--first-id must be from 1 to %d", int64(maxID))
	}
	if a.TokenFile == "" {
		return nil
	}
	token, err := app.Settings{TokenFile: a.TokenFile, Brand: brand}.Token(ctx)
	if err != nil {
		return err
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return app.Usage("%s must hold a token of ASCII without spaces, because it is sent in a header", a.TokenFile)
	}
	set.options = append(set.options, clixnowtest.WithToken(token))
	return nil
}

// define adds the flags of the command.
func (set *settings) define(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringVar(&set.addr, "addr", "127.0.0.1:8080", "listen on `HOST:PORT`; port 0 is any free one")
	flags.StringSliceVar(&set.hosts, "host", nil, "answer to this `NAME` too, as that of a proxy")
	flags.StringVar(&set.seed, "seed", "", "start with the leads of `FILE`: a JSON array or a lead a line, as "+
		"searches return them")
	flags.StringVar(&set.state, "state", "", "keep the next id in `FILE`, so that ids go on after a restart")
	flags.Int64Var(&set.firstID, "first-id", 123456, "begin with this `ID`")
	flags.Func("fault", "add a `FAULT`; can be repeated", func(text string) error {
		fault, err := parseFault(text)
		set.faults = append(set.faults, fault)
		return err
	})
	// with adds a flag whose value selects how the fake behaves.
	with := func(name, usage string, parse func(string) (clixnowtest.Option, error)) {
		flags.Func(name, usage, func(value string) error {
			option, err := parse(value)
			set.options, set.behaviour = append(set.options, option), append(set.behaviour, name+" "+value)
			return err
		})
	}
	only := func(name, usage string, option clixnowtest.Option) {
		flags.BoolFunc(name, usage, func(value string) error {
			if value != "true" {
				return errors.New("leave the flag out instead")
			}
			set.options, set.behaviour = append(set.options, option), append(set.behaviour, name)
			return nil
		})
	}
	setLag := func(lag time.Duration) clixnowtest.Option {
		set.lag = lag
		return clixnowtest.WithSearchDelay(nil) // reset sets it
	}
	with("search-delay", "show changes in searches after a `TIME`: 5s", duration(setLag))
	with("filter-precision", "filters compare dates cut to a `TIME`: 1s, 24h",
		duration(clixnowtest.WithFilterPrecision))
	only("exclusive-bounds", "filters exclude their bounds", clixnowtest.WithExclusiveBounds())
	with("local-dates", "print dates in the time of a `ZONE`, without it: Europe/Zurich",
		option("write the name of a time zone: Europe/Zurich", time.LoadLocation, clixnowtest.WithDateZone))
	with("page-limit", "return at most `N` leads in a page, 10 or more", option(
		"write a number of at least 10, which is the API's default for count", atLeast(10), clixnowtest.WithPageLimit))
	with("envelope", "answer searches with {\"`KEY`\": [...]}", option("write a key", list(`.*`),
		func(key []string) clixnowtest.Option { return clixnowtest.WithEnvelope(strings.Join(key, ",")) }))
	const fields = "id,email,status,crmId,brandId,brandName,createdOn,updatedOn,ftdDate,clickId,sub2," +
		"subCampaign,keyword,placement,clientType"
	with("hide", "leave `FIELDS` out of searches: email,ftdDate", option("the fields of a lead are "+fields,
		list(strings.ReplaceAll(fields, ",", "|")),
		func(names []string) clixnowtest.Option { return clixnowtest.WithHiddenFields(names...) }))
	with("countries", "accept leads of these countries only: `CH,AT`", option("write alpha-2 codes: CH,AT",
		list("[A-Za-z]{2}"), func(codes []string) clixnowtest.Option { return clixnowtest.WithCountries(codes...) }))
	with("capacity", "refuse creates from `N` leads on", option("write a number", atLeast(0),
		func(n int) clixnowtest.Option { return clixnowtest.WithCapacity(n, "Daily cap reached") }))
	only("no-duplicate-check", "accept a known email or phone", clixnowtest.WithoutDuplicateCheck())
}

// option returns the parser of a flag. hint says what a right value is.
func option[T any](hint string, parse func(string) (T, error),
	option func(T) clixnowtest.Option,
) func(string) (clixnowtest.Option, error) {
	return func(text string) (clixnowtest.Option, error) {
		value, err := parse(text)
		if err != nil || text == "" {
			return nil, errors.New(hint)
		}
		return option(value), nil
	}
}

func duration(use func(time.Duration) clixnowtest.Option) func(string) (clixnowtest.Option, error) {
	return option("write a time with a unit: 300ms, 5s", func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if d < 0 {
			err = errRange
		}
		return d, err
	}, use)
}

var errRange = errors.New("out of range")

func atLeast(least int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if n < least {
			err = errRange
		}
		return n, err
	}
}

// list returns a parser of words that are separated by commas.
func list(pattern string) func(string) ([]string, error) {
	return func(text string) ([]string, error) {
		if !regexp.MustCompile("^(" + pattern + ")(,(" + pattern + "))*$").MatchString(text) {
			return nil, errRange
		}
		return strings.Split(text, ","), nil
	}
}
