// Package doctor holds the command "clixnow doctor", which checks whether the
// API can be used.
package doctor

import (
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

// The results of a check.
const (
	ok      = "ok"
	warning = "warning"
	failed  = "failed"
	unknown = "unknown"
)

// check is one line of the output.
type check struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Detail string `json:"detail"`
	// Fix says what to do. "" means nothing.
	Fix string `json:"fix,omitempty"`
}

// doctor makes the checks one after the other.
type doctor struct {
	app      *app.App
	format   app.Format
	printer  *app.Printer[check]
	settings app.Settings
	client   *clixnow.Client
	base     *url.URL
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
there, so for a brand without leads it is unknown. The exit code is that of
the first check that failed.`,
		Example: "  clixnow doctor --brand acme\n  clixnow doctor -o json",
	}
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d := &doctor{app: a, format: *format}
		d.printer = app.NewPrinter[check](a, *format, []string{"check", "result", "detail", "fix"})
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
		defer cancel()
		err := d.run(ctx)
		if closing := d.printer.Close(); closing != nil {
			return closing
		}
		return err
	}
	return cmd
}

// run makes the checks until one fails, whose error it returns.
func (d *doctor) run(ctx context.Context) error {
	steps := []func(context.Context) error{
		d.configuration, d.dns, d.connection, d.token, d.pageSize, d.filters,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// report prints a check.
func (d *doctor) report(name, result, fix, detail string, args ...any) error {
	c := check{name, result, fmt.Sprintf(detail, args...), fix}
	if d.format != app.Table {
		return d.printer.Print(c)
	}
	const indent = 25
	lines := strings.Split(text.WrapSoft(app.Printable(c.Detail), 80-indent), "\n")
	if fix != "" {
		lines = append(lines, strings.Split(text.WrapSoft("-> "+app.Printable(fix), 80-indent), "\n")...)
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	mark := fmt.Sprintf("%-8s", result)
	if d.app.Color() {
		colors := map[string]string{ok: "32", warning: "33", failed: "31", unknown: "33"}
		mark = "\033[" + colors[result] + "m" + mark + "\033[0m"
	}
	_, err := fmt.Fprintf(d.app.Out, "%s %-15s %s\n", mark, name,
		strings.Join(lines, "\n"+strings.Repeat(" ", indent)))
	return err
}

// fail reports a check that failed, and returns an error with the exit code.
func (d *doctor) fail(name string, code int, fix string, cause error) error {
	if err := d.report(name, failed, fix, "%s", app.Text(cause)); err != nil {
		return err
	}
	return app.WithCode(code, fmt.Errorf("the check %q failed", name))
}

func (d *doctor) configuration(ctx context.Context) (err error) {
	const name = "configuration"
	if d.settings, err = d.app.Settings(); err != nil {
		return d.fail(name, app.Code(err), "clixnow help config", err)
	}
	if d.client, err = d.app.Client(ctx); err != nil {
		return d.fail(name, app.Code(err), "correct that; see clixnow help config", err)
	}
	base := d.settings.BaseURL
	if base == "" {
		base = "https://integration." + d.settings.Brand + ".clixnow.com"
	}
	if d.base, err = url.Parse(base); err != nil {
		return d.fail(name, app.CodeUsage, "correct the base URL", err)
	}
	if d.app.Demo {
		return d.report(name, ok, "", "a fake brand on this machine")
	}
	source := "the environment variable " + d.settings.TokenEnv
	if file := d.settings.TokenFile; file != "" {
		source = file
		info, err := os.Stat(file)
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			return d.report(name, warning, "chmod 600 "+file, "brand %s; other users can read the token in %s",
				d.settings.Brand, file)
		}
	}
	return d.report(name, ok, "", "brand %s, token from %s", d.settings.Brand, source)
}

// dns looks the host up, unless a proxy does that.
func (d *doctor) dns(ctx context.Context) error {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: d.base})
	switch {
	case err != nil:
		return d.fail("proxy", app.CodeUsage, "correct HTTPS_PROXY", fmt.Errorf("the URL of the proxy is wrong"))
	case proxy != nil:
		return d.report("proxy", ok, "", "%s (HTTPS_PROXY)", proxy.Host)
	}
	if err := d.report("proxy", ok, "", "none"); err != nil {
		return err
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, d.base.Hostname())
	if err != nil {
		return d.fail("dns", app.Code(err), "check the spelling of the brand, and the network", err)
	}
	return d.report("dns", ok, "", "%s is %s", d.base.Hostname(), strings.Join(addresses, ", "))
}

// connection makes one request without a token, and looks at the certificate
// and at the clock of the server.
func (d *doctor) connection(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base.String(), nil)
	if err != nil {
		return err
	}
	before := time.Now()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		fix := "check the network and the firewall, and try again later"
		if app.Code(err) == app.CodeAccess {
			fix = "check the base URL; a proxy that opens TLS needs its certificate in the system"
		}
		return d.fail("connection", app.Code(err), fix, err)
	}
	defer resp.Body.Close()
	elapsed := time.Since(before)
	if err := d.certificate(resp); err != nil {
		return err
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return d.report("clock", unknown, "", "the server sends no date")
	}
	// The header has whole seconds.
	difference := date.Add(500 * time.Millisecond).Sub(before.Add(elapsed / 2)).Round(time.Second)
	if difference.Abs() > time.Minute {
		return d.report("clock", warning, "set the clock of this machine by NTP",
			"this machine and the server differ by %s", difference.Abs())
	}
	return d.report("clock", ok, "", "within %s of the server's", max(difference.Abs(), time.Second))
}

func (d *doctor) certificate(resp *http.Response) error {
	if resp.TLS == nil {
		return d.report("tls", ok, "", "not used")
	}
	end := resp.TLS.PeerCertificates[0].NotAfter
	if days := int(time.Until(end).Hours() / 24); days < 14 {
		return d.report("tls", warning, "tell your Clixnow manager",
			"the certificate of the server expires in %d days", days)
	}
	return d.report("tls", ok, "", "the certificate is valid until %s", end.UTC().Format(time.DateOnly))
}

// token searches for one lead.
func (d *doctor) token(ctx context.Context) error {
	_, err := d.client.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{Count: 1})
	if err == nil {
		return d.report("token", ok, "", "accepted")
	}
	fix := map[int]string{
		app.CodeAccess: "ask your Clixnow manager for a token of this brand",
		app.CodeLater:  "try again later",
	}[app.Code(err)]
	return d.fail("token", app.Code(err), fix, err)
}

// pageSize asks for the largest page, and whether leads follow a shorter one.
func (d *doctor) pageSize(ctx context.Context) error {
	req := clixnow.SearchLeadsRequest{Count: clixnow.MaxPageSize}
	page, err := d.client.SearchLeadsPage(ctx, req)
	if err != nil {
		return d.fail("page size", app.Code(err), "try again later", err)
	}
	d.leads = page.Leads
	size := len(page.Leads)
	if size >= clixnow.MaxPageSize {
		return d.report("page size", ok, "", "%d leads", size)
	}
	next, err := d.client.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{Count: 1, Skip: size})
	switch {
	case err != nil:
		return d.fail("page size", app.Code(err), "try again later", err)
	case len(next.Leads) > 0:
		return d.report("page size", warning, "nothing: clixnow reads smaller pages too", "the API gives at most %d leads", size)
	}
	return d.report("page size", unknown, "", "the brand has only %d leads", size)
}
