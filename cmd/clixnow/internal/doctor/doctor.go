// Package doctor holds the command "clixnow doctor", which checks whether the
// API can be used.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// finding is the result of a check.
type finding struct {
	Check string `json:"check"`
	// Result is ok, warning, unknown or failed. "" means ok.
	Result string `json:"result"`
	Detail string `json:"detail"`
	// Fix says what to do. "" means nothing.
	Fix string `json:"fix,omitempty"`
}

// check is one thing that is checked. If run returns an error, the check has
// failed, and fix says what to do.
type check struct {
	name, fix string
	run       func(context.Context) (finding, error)
}

// doctor holds what a check leaves for the next ones.
type doctor struct {
	app      *app.App
	settings app.Settings
	client   *clixnow.Client
	base     *url.URL
	proxied  bool
	// date is the server's clock in a response that came at received.
	date     string
	received time.Time
	// leads are those of the first page.
	leads []clixnow.Lead
}

// Command returns the command "doctor".
func Command(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check configuration, connection, token and API", Args: app.Args(),
		Long: `Check everything that is needed to use the API of a brand, and say what to do
about each problem: the configuration, proxy, DNS, TLS, the clock, the token,
the size of a page, and how exactly the date filters work.

It only reads. What it says about pages and filters comes from leads that are
there, so for a brand without leads it is unknown. It ends at the first check
that fails, with its exit code.`,
		Example: "  clixnow doctor --brand acme\n  clixnow doctor -o json",
	}
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
		defer cancel()
		d := &doctor{app: a}
		printer := app.Printer[finding]{Format: *format, Fields: []string{"check", "result", "detail", "fix"}}.Open(a)
		failure := error(nil)
		for _, c := range d.checks() {
			found, err := c.run(ctx)
			if err != nil {
				found = finding{Result: "failed", Detail: app.Text(err), Fix: c.fix}
				failure = app.WithCode(app.Code(err), fmt.Errorf("the check %q failed", c.name))
			}
			found.Check, found.Result = c.name, cmp.Or(found.Result, "ok")
			show := printer.Print
			if *format == "table" {
				show = d.print
			}
			if err := show(found); err != nil {
				return err
			}
			if failure != nil {
				break
			}
		}
		return cmp.Or(printer.Close(), failure)
	}
	return cmd
}

func (d *doctor) checks() []check {
	const later = "try again later"
	all := []check{
		{"configuration", "see \"clixnow help config\"", d.configuration},
		{"proxy", "correct the environment variable HTTPS_PROXY", d.proxy},
		{"dns", "check the spelling of the brand, and the network", d.dns},
		{"connection", "check the base URL, the firewall and the clock; a proxy that opens TLS needs its " +
			"certificate in the system", d.connection},
		{"clock", later, d.clock},
		{"token", "ask your Clixnow manager for a token of this brand; for a 404, check base_url; " +
			"for a 5xx or 429, try again later", d.token},
		{"page size", later, d.pageSize},
	}
	for _, f := range filters() {
		all = append(all, check{f.name, later, func(ctx context.Context) (finding, error) { return d.filter(ctx, f) }})
	}
	return all
}

// print prints a finding in at most 80 columns.
func (d *doctor) print(f finding) error {
	const indent = 25
	lines := text.WrapSoft(app.Printable(f.Detail), 80-indent)
	if f.Fix != "" {
		lines += "\n" + text.WrapSoft("-> "+app.Printable(f.Fix), 80-indent)
	}
	result := fmt.Sprintf("%-8s", f.Result)
	if d.app.Color() {
		color := map[string]string{"ok": "32", "failed": "31"}[f.Result]
		result = "\033[" + cmp.Or(color, "33") + "m" + result + "\033[0m"
	}
	var block strings.Builder
	fmt.Fprintf(&block, "%s %-15s ", result, f.Check)
	for i, line := range strings.Split(lines, "\n") {
		if i > 0 {
			fmt.Fprintf(&block, "\n%*s", indent, "")
		}
		block.WriteString(strings.TrimRight(line, " "))
	}
	_, err := fmt.Fprintln(d.app.Out, block.String())
	return err
}

func (d *doctor) configuration(ctx context.Context) (f finding, err error) {
	d.settings, _ = d.app.Settings() // Client returns the error.
	if d.client, err = d.app.Client(ctx); err != nil {
		return f, err
	}
	d.base, _ = url.Parse(d.settings.Address()) // Client has parsed it too.
	file := d.settings.TokenFile
	if d.app.Demo {
		return finding{Detail: "a fake brand on this machine"}, nil
	}
	if info, err := os.Stat(file); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return finding{
			Result: "warning", Detail: "other users can read the token of brand " + d.settings.Brand + " in " + file,
			Fix: "chmod 600 " + file,
		}, nil
	}
	source := cmp.Or(file, "the environment variable "+d.settings.TokenEnv)
	return finding{Detail: "brand " + d.settings.Brand + " at " + d.settings.Address() + ", token from " + source}, nil
}

func (d *doctor) proxy(context.Context) (finding, error) {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: d.base})
	if err != nil {
		// The text of the error may hold a password.
		return finding{}, app.Usage("the URL of the proxy is wrong")
	}
	if proxy == nil {
		return finding{Detail: "none"}, nil
	}
	d.proxied = true
	return finding{Detail: proxy.Host}, nil
}

func (d *doctor) dns(ctx context.Context) (finding, error) {
	if d.proxied {
		return finding{Detail: "left to the proxy"}, nil
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, d.base.Hostname())
	return finding{Detail: d.base.Hostname() + " is " + strings.Join(addresses, ", ")}, err
}

// connection makes one request without a token, and looks at the certificate.
func (d *doctor) connection(ctx context.Context) (finding, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base.String(), nil)
	if err != nil {
		return finding{}, err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return finding{}, err
	}
	defer resp.Body.Close()
	d.date, d.received = resp.Header.Get("Date"), time.Now()
	if resp.TLS == nil {
		return finding{Detail: "without TLS"}, nil
	}
	end := resp.TLS.PeerCertificates[0].NotAfter
	f := finding{Detail: "TLS, with a certificate until " + end.UTC().Format(time.DateOnly)}
	if time.Until(end) < 14*24*time.Hour {
		f.Result, f.Fix = "warning", "tell your Clixnow manager that the certificate expires"
	}
	return f, nil
}

// clock compares the clocks. The header Date has whole seconds.
func (d *doctor) clock(context.Context) (finding, error) {
	date, err := http.ParseTime(d.date)
	if err != nil {
		return finding{Result: "unknown", Detail: "the server sends no date"}, nil //nolint:nilerr // nothing failed
	}
	difference := d.received.Sub(date).Round(time.Second).Abs()
	if difference > time.Minute {
		return finding{
			Result: "warning", Detail: fmt.Sprintf("this machine and the server differ by %s", difference),
			Fix: "set the clock of this machine by NTP",
		}, nil
	}
	return finding{Detail: fmt.Sprintf("within %s of the server's", max(difference, 2*time.Second))}, nil
}

// token searches for one lead.
func (d *doctor) token(ctx context.Context) (finding, error) {
	_, err := d.client.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{Count: 1})
	return finding{Detail: "accepted"}, err
}

// pageSize asks for the largest page, and whether leads follow a shorter one.
func (d *doctor) pageSize(ctx context.Context) (finding, error) {
	page, err := d.client.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{Count: clixnow.MaxPageSize})
	if err != nil {
		return finding{}, err
	}
	d.leads = page.Leads
	size := len(page.Leads)
	next, err := d.client.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{Count: 1, Skip: size})
	switch {
	case err != nil:
		return finding{}, err
	case size < clixnow.MaxPageSize && len(next.Leads) == 0:
		return finding{Result: "unknown", Detail: fmt.Sprintf("the brand has only %d leads", size)}, nil
	}
	return finding{Detail: fmt.Sprintf("at most %d leads", size)}, nil
}
