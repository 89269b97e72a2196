package lead

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// creation holds the flags of "lead create".
type creation struct {
	app     *app.App
	flags   *pflag.FlagSet
	request clixnow.CreateLeadRequest
	extra   map[string]string

	input, passwordFile, ip, landing, carrier string

	since    moment
	timeout  time.Duration
	redirect bool
	format   *app.Format
}

func create(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Register a lead", Args: app.Args(),
		Long: `Register a lead exactly once, also if the answer is lost. The lead comes from
flags, from JSON (--input), or from both: flags come first.

If the exit code is 5, the lead may exist. Run the same command again with
--since and the time that the error names: it looks for the lead before it
sends it. A click ID that is different for each lead makes this sure.

The password is never a flag: it comes from --password-file, from the JSON, or
is asked for. The redirect URL logs the lead in, so it is a secret too. JSON
always has it; for a table or CSV give --redirect-url.`,
		Example: `  clixnow lead create --demo
  clixnow lead create --first-name Anna --last-name Brown --country CH \
    --email anna@example.com --phone +41795550100 --click-id c-1 \
    --password-file password.txt
  clixnow lead create --input - -o json < lead.json`,
	}
	c := &creation{app: a, flags: cmd.Flags(), format: app.FormatFlag(cmd)}
	c.addFlags()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) }
	return cmd
}

func (c *creation) addFlags() {
	f, r := c.flags, &c.request
	for name, field := range map[string]*string{
		"first-name": &r.FirstName, "last-name": &r.LastName, "email": &r.Email, "phone": &r.Phone,
		"country": &r.CountryCode, "language": &r.LanguageCode, "referral-url": &r.ReferralURL,
		"sub-campaign": &r.SubCampaign, "placement": &r.Placement, "keyword": &r.Keyword, "sub2": &r.Sub2,
		"click-id": &r.ClickID, "device-type": &r.DeviceType, "device-name": &r.DeviceName, "os": &r.OSName,
		"browser": &r.Browser, "comment": &r.Comment, "carrier": (*string)(&r.Carrier),
	} {
		f.StringVar(field, name, "", "the "+strings.ReplaceAll(name, "-", " ")+" of the lead as `TEXT`")
	}
	f.StringVar(&c.ip, "ip", "", "the IP `ADDRESS` of the lead")
	f.BoolVar(&r.AcceptTermsAndConditions, "accept-terms", false, "the lead accepted the terms")
	f.BoolVar(&r.AcceptPromotions, "accept-promotions", false, "the lead accepted promotions")
	f.StringToStringVar(&c.extra, "extra", nil, "another field that the brand asks for, as `NAME=TEXT`")
	f.StringVar(&c.landing, "landing-url", "", "take the tracking from the `URL` of the visit")
	f.StringVar(&c.input, "input", "", "a JSON `FILE` with the lead, or - for standard input")
	f.StringVar(&c.passwordFile, "password-file", "", "the `FILE` that holds the lead's password")
	f.Var(&c.since, "since", "the `TIME` of an earlier attempt, or its age")
	f.DurationVar(&c.timeout, "timeout", 2*time.Minute, "stop after this `TIME`")
	f.BoolVar(&c.redirect, "redirect-url", false, "also print the redirect URL, which is a secret")
}

func (c *creation) run(ctx context.Context) error {
	if c.timeout <= 0 {
		return app.Usage("--timeout must be longer than 0")
	}
	settings, err := c.app.Settings()
	if err != nil {
		return err
	}
	if err := c.fill(); err != nil {
		return err
	}
	country := strings.ToUpper(c.request.CountryCode)
	if len(settings.Countries) > 0 && country != "" && !slices.Contains(settings.Countries, country) {
		return app.WithCode(app.CodeRefused, fmt.Errorf("brand %q does not take the country %q, says %s; try another brand",
			settings.Brand, country, settings.File))
	}
	client, err := c.app.Client(ctx)
	if err != nil {
		return err
	}
	first := c.since.time
	if first.IsZero() {
		first = time.Now()
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := client.EnsureLeadSince(ctx, c.request, c.since.time)
	if errors.Is(err, clixnow.ErrOutcomeUnknown) {
		return app.WithCode(app.CodeDoubt, fmt.Errorf("%w; run the same command again with --since %s",
			err, first.UTC().Format(time.RFC3339)))
	}
	if err != nil {
		return err
	}
	if err := c.print(response); err != nil {
		return app.WithCode(app.CodeDoubt, fmt.Errorf("lead %d is registered, but printing it failed: %w",
			response.LeadID, err))
	}
	return nil
}

// fill puts the request together. Flags come before JSON.
func (c *creation) fill() error {
	given := map[string]string{}
	c.flags.Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
	if c.app.Demo && c.input == "" {
		c.request = demoLead()
	}
	if c.input != "" {
		if err := c.readInput(); err != nil {
			return err
		}
	}
	delete(given, "extra") // It is no single value.
	for name, value := range given {
		if err := c.flags.Set(name, value); err != nil {
			return app.Usage("%w", err)
		}
	}
	for name, value := range c.extra {
		if c.request.Extra == nil {
			c.request.Extra = map[string]any{}
		}
		c.request.Extra[name] = value
	}
	if c.ip != "" {
		address, err := netip.ParseAddr(c.ip)
		if err != nil {
			return app.Usage("--ip is not an IP address")
		}
		c.request.IPAddress = address
	}
	if c.landing != "" {
		visit, err := clixnow.ParseLandingURL(c.landing)
		if err != nil {
			return app.Usage("--landing-url: %w", err)
		}
		visit.Apply(&c.request)
	}
	return c.readPassword()
}

func (c *creation) readInput() error {
	in := c.app.In
	if c.input != "-" {
		file, err := os.Open(c.input)
		if err != nil {
			return app.Usage("read the lead: %w", err)
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return app.Usage("read the lead: %w", err)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(data, &c.request); {
	case len(bytes.TrimSpace(data)) == 0:
		return app.Usage("the input is empty: it must be one lead as a JSON object")
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		return app.Usage("the input is not one lead as a JSON object: line %d: %w", line, err)
	case err != nil:
		return app.Usage("the input is not one lead as a JSON object: %w", err)
	}
	return nil
}

func (c *creation) readPassword() error {
	stdin, isFile := c.app.In.(*os.File)
	switch {
	case c.passwordFile != "":
		password, err := app.ReadSecret(c.passwordFile)
		if err != nil {
			return app.Usage("read the password: %w", err)
		}
		c.request.Password = password
	case c.request.Password == "" && c.app.Interactive() && isFile && term.IsTerminal(int(stdin.Fd())):
		fmt.Fprint(c.app.Err, "Password of the lead: ")
		data, err := term.ReadPassword(int(stdin.Fd()))
		fmt.Fprintln(c.app.Err)
		if err != nil {
			return app.Usage("read the password: %w", err)
		}
		c.request.Password = string(data)
	}
	return nil
}

// print prints the registered lead.
func (c *creation) print(response *clixnow.EnsureLeadResponse) error {
	if *c.format != app.Table {
		fields := []string{"leadId", "recovered", "clickId", "crmId"}
		if c.redirect {
			fields = append(fields, "redirectUrl")
		}
		printer := app.NewPrinter[*clixnow.EnsureLeadResponse](c.app, c.format.Single(), fields)
		return errors.Join(printer.Print(response), printer.Close())
	}
	text := fmt.Sprintf("registered lead %d\n", response.LeadID)
	switch {
	case response.Recovered:
		text = fmt.Sprintf("found lead %d: an earlier attempt has registered it\n", response.LeadID)
	case c.redirect:
		text += app.Printable(response.RedirectURL) + "\n"
	}
	_, err := io.WriteString(c.app.Out, text)
	return err
}

// demoLead returns a lead for --demo.
func demoLead() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41795550100",
		Password: "Password123!", CountryCode: "CH", ClickID: "demo-1",
	}
}
