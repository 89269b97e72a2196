package lead

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// textFields are the fields of a lead that a flag sets. The flag of firstName
// is --first-name.
const textFields = "firstName lastName email phone countryCode languageCode referralUrl subCampaign placement " +
	"keyword sub2 clickId deviceType deviceName osName browser carrier ipAddress comment"

// demoLead is the lead of --demo.
const demoLead = `{"firstName": "Allison", "lastName": "Brown", "email": "allison.brown@example.com",
	"phone": "+41795550100", "password": "Password123!", "countryCode": "CH", "clickId": "demo-1"}`

// creation holds the flags of "lead create".
type creation struct {
	app   *app.App
	flags *pflag.FlagSet

	input, passwordFile, landing string

	extra   map[string]string
	since   time.Time
	timeout time.Duration
	printer app.Printer[*clixnow.EnsureLeadResponse]
}

func create(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Register a lead", Args: app.Args(),
		Long: `Register a lead exactly once, also if the answer is lost. The lead comes from
flags, from JSON (--input), or from both: flags come first.

If the exit code is 5, the lead may exist. Run the same command again with
--since and the time that the error names: it looks for the lead before it
sends it. A click ID that is different for each lead makes this sure. With
-o json, standard output then has {"outcome":"unknown","since":"TIME"}.

The password is never a flag: it comes from --password-file, from the JSON, or
is asked for. The redirect URL logs the lead in, so it is a secret too. JSON
always has it; for a table or CSV give --redirect-url.`,
		Example: `  clixnow lead create --demo
  clixnow lead create --first-name Anna --last-name Brown --country-code CH \
    --email anna@example.com --phone +41795550100 --click-id c-1 \
    --password-file password.txt
  clixnow lead create --input - -o json < lead.json`,
	}
	f := cmd.Flags()
	c := &creation{app: a, flags: f}
	for field := range strings.FieldsSeq(textFields) {
		f.String(flagOf(field), "", "the field "+field)
		_ = f.SetAnnotation(flagOf(field), "field", []string{field})
	}
	terms := f.Bool("accept-terms", false, "the lead accepted terms and conditions")
	promotions := f.Bool("accept-promotions", false, "the lead accepted promotions")
	f.StringToStringVar(&c.extra, "extra", nil, "another field that the brand asks for, as `NAME=TEXT`")
	f.Lookup("extra").DefValue = "" // else help shows "[]"
	f.StringVar(&c.landing, "landing-url", "", "take the tracking from the `URL` of the visit")
	f.StringVar(&c.input, "input", "", "a JSON `FILE` with the lead, or - for standard input")
	f.StringVar(&c.passwordFile, "password-file", "", "the `FILE` that holds the lead's password")
	timeFlag(cmd, &c.since, "since", "the `TIME` of an earlier attempt, or its age", false)
	f.DurationVar(&c.timeout, "timeout", 2*time.Minute, "stop after this `TIME`")
	redirect := f.Bool("redirect-url", false, "also print the redirect URL, which is a secret")
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c.printer = app.Printer[*clixnow.EnsureLeadResponse]{
			Format: *format, Single: true, Fields: []string{"leadId", "recovered", "clickId", "crmId"},
			Row: func(r *clixnow.EnsureLeadResponse) string {
				switch {
				case r.Recovered:
					return fmt.Sprintf("found lead %d: an earlier attempt has registered it", r.LeadID)
				case *redirect:
					return fmt.Sprintf("registered lead %d\t%s", r.LeadID, r.RedirectURL)
				}
				return fmt.Sprintf("registered lead %d", r.LeadID)
			},
		}
		if *redirect {
			c.printer.Fields = append(c.printer.Fields, "redirectUrl")
		}
		request, err := c.request()
		if err != nil {
			return err
		}
		request.AcceptTermsAndConditions = request.AcceptTermsAndConditions || *terms
		request.AcceptPromotions = request.AcceptPromotions || *promotions
		return c.run(cmd.Context(), request)
	}
	return cmd
}

// flagOf returns the flag of a field.
func flagOf(field string) string {
	name := strings.ToLower(regexp.MustCompile("[A-Z]").ReplaceAllString(field, "-$0"))
	return strings.Replace(name, "password", "password-file", 1)
}

func (c *creation) run(ctx context.Context, request clixnow.CreateLeadRequest) error {
	if c.timeout <= 0 {
		return app.Usage("--timeout must be longer than 0")
	}
	settings, _ := c.app.Settings() // Client returns the error.
	client, err := c.app.Client(ctx)
	if err != nil {
		return err
	}
	isCountry := func(code string) bool { return strings.EqualFold(code, request.CountryCode) }
	if len(settings.Countries) > 0 && request.CountryCode != "" && !slices.ContainsFunc(settings.Countries, isCountry) {
		return app.WithCode(app.CodeRefused, fmt.Errorf("brand %q does not take the country %q, says %s; "+
			"try another brand", settings.Brand, request.CountryCode, settings.File))
	}
	since := cmp.Or(c.since, time.Now()).UTC().Format(time.RFC3339)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := client.EnsureLeadSince(ctx, request, c.since)
	if errors.Is(err, clixnow.ErrOutcomeUnknown) {
		if strings.HasPrefix(c.printer.Format, "json") {
			fmt.Fprintf(c.app.Out, "{\"outcome\":\"unknown\",\"since\":%q}\n", since)
		}
		return app.WithCode(app.CodeDoubt, fmt.Errorf("%w; run the same command again with --since %s; if the answer "+
			"stays the same, a person must decide: see \"clixnow lead find\", or ask the brand", err, since))
	}
	if invalid, ok := errors.AsType[*clixnow.ValidationError](err); ok {
		code := app.CodeRefused
		for i, fault := range invalid.Fields {
			if fault.Code == clixnow.ProblemMissing {
				code, invalid.Fields[i].Field = app.CodeUsage, fault.Field+" (--"+flagOf(fault.Field)+")"
			}
		}
		return app.WithCode(code, errors.New(app.Explain(invalid)))
	}
	if err != nil {
		return err
	}
	printer := c.printer.Open(c.app)
	if err := errors.Join(printer.Print(response), printer.Close()); err != nil {
		return app.WithCode(app.CodeDoubt, fmt.Errorf("lead %d is registered, but printing it failed: %w",
			response.LeadID, err))
	}
	return nil
}

// request puts the request together. Flags come before JSON.
func (c *creation) request() (request clixnow.CreateLeadRequest, err error) {
	data := []byte("{}")
	switch {
	case c.input == "-":
		data, err = io.ReadAll(c.app.In)
	case c.input != "":
		data, err = os.ReadFile(c.input)
	case c.app.Demo:
		data = []byte(demoLead)
	}
	if err != nil {
		return request, app.Usage("read the lead: %w", err)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var members map[string]json.RawMessage
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(data, &members); {
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(data[:syntax.Offset], []byte("\n"))
		return request, app.Usage("the input must be one lead as a JSON object: line %d: %w", line, err)
	case err != nil || members == nil:
		return request, app.Usage("the input must be one lead as a JSON object")
	}
	set := func(field, text string) {
		members[field], _ = json.Marshal(text) //nolint:errchkjson // every text has a JSON form
	}
	for name, value := range c.extra {
		set(name, value)
	}
	c.flags.Visit(func(f *pflag.Flag) {
		if field := f.Annotations["field"]; field != nil {
			set(field[0], f.Value.String())
		}
	})
	password := ""
	if c.passwordFile != "" {
		password, err = app.ReadSecret(c.passwordFile)
	} else if members["password"] == nil {
		password, err = c.askPassword()
	}
	if err != nil {
		return request, app.Usage("read the password: %w", err)
	}
	if password != "" {
		set("password", password)
	}
	err = c.checkMembers(members)
	data, _ = json.Marshal(members) //nolint:errchkjson // they come from JSON
	if err == nil {
		err = json.Unmarshal(data, &request)
	}
	if err != nil {
		return request, app.Usage("the lead is wrong: %s", app.Text(err))
	}
	if c.landing != "" {
		visit, err := clixnow.ParseLandingURL(c.landing)
		if err != nil {
			return request, app.Usage("--landing-url: %w", err)
		}
		visit.Apply(&request)
	}
	return request, nil
}

// checkMembers refuses names that are nearly those of fields, because the API
// would ignore them. It removes macros, because all visitors would have the
// same value.
func (c *creation) checkMembers(members map[string]json.RawMessage) error {
	bare := strings.NewReplacer("_", "", "-", "", " ", "")
	for field := range strings.FieldsSeq(textFields + " password acceptTermsAndConditions acceptPromotions") {
		for name := range members {
			if name != field && strings.EqualFold(bare.Replace(name), field) {
				return fmt.Errorf("%q must be written %q", name, field)
			}
		}
	}
	for _, field := range []string{"subCampaign", "placement", "keyword", "sub2", "clickId"} {
		var value string
		var probe clixnow.CreateLeadRequest
		_ = json.Unmarshal(members[field], &value) // The caller finds a wrong type.
		clixnow.LandingURL{ClickID: value}.Apply(&probe)
		if value != "" && probe.ClickID == "" {
			delete(members, field)
			fmt.Fprintf(c.app.Err, "clixnow: warning: %s is left out: it is a macro that no tracker filled in\n", field)
		}
	}
	return nil
}

// askPassword asks for the password if there is a person to answer.
func (c *creation) askPassword() (string, error) {
	in, ok := c.app.In.(*os.File)
	if !ok || !c.app.Interactive() || !term.IsTerminal(int(in.Fd())) {
		return "", nil
	}
	fmt.Fprint(c.app.Err, "Password of the lead: ")
	password, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(c.app.Err)
	return string(password), err
}
