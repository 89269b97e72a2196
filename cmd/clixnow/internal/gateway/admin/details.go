package admin

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// detailsView is the data of the page of one sign-up.
type detailsView struct {
	head

	Signup outbox.Signup
	// Events is the history, the newest first.
	Events []outbox.Change
	Fields []field
	// Why is why the sign-up has its status.
	Why string
	// Notice says what was done. "" means nothing.
	Notice string
	// Email and Phone are in the form.
	Email, Phone string
	// Faults are the mistakes in the form.
	Faults []fault
}

// field is a field of the lead.
type field struct{ Name, Value string }

// fault is a mistake in the field with an id.
type fault struct{ ID, Text string }

// Fault returns the mistake in a field, or "".
func (v detailsView) Fault(id string) string {
	for _, f := range v.Faults {
		if f.ID == id {
			return f.Text
		}
	}
	return ""
}

// notices are the texts about actions. The page after an action has their key
// in its address.
func notices(key string) string {
	return map[string]string{
		"retried":   "A try has been started. This page shows how it ends.",
		"corrected": "The sign-up has been corrected, and a try has been started.",
		"given-up":  "The sign-up has been given up.",
	}[key]
}

func (a *admin) details(w http.ResponseWriter, r *http.Request) {
	a.showDetails(w, r, http.StatusOK, detailsView{Notice: notices(r.FormValue("done"))})
}

// showDetails shows the page of a sign-up. If v has faults, it shows them in
// the form of the correction.
func (a *admin) showDetails(w http.ResponseWriter, r *http.Request, status int, v detailsView) {
	s, err := a.Outbox.Get(r.Context(), r.PathValue("id"))
	if err == nil {
		v.Events, err = a.Outbox.History(r.Context(), s.ID)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	for i, j := 0, len(v.Events)-1; i < j; i, j = i+1, j-1 {
		v.Events[i], v.Events[j] = v.Events[j], v.Events[i]
	}
	v.Why = why(s).text
	if len(v.Events) > 0 && v.Events[0].Kind == outbox.ChangeGivenUp {
		v.Why = event(v.Events[0]) + "."
	}
	v.head, v.Signup = a.head(r, s.Lead.FirstName+" "+s.Lead.LastName), *s
	v.Back = filter{Status: s.Status}.Link("/")
	if v.Faults == nil {
		v.Email, v.Phone = s.Lead.Email, s.Lead.Phone
	}
	v.Fields = fields(&s.Lead)
	a.show(w, r, status, "details.html", v)
}

// fields returns what the visitor typed, and what is known about the visit.
// Empty fields are left out.
func fields(lead *clixnow.CreateLeadRequest) (all []field) {
	address := ""
	if lead.IPAddress.IsValid() {
		address = lead.IPAddress.String()
	}
	yes := map[bool]string{true: "yes"}
	for _, f := range []field{
		{"Email", lead.Email},
		{"Phone", lead.Phone},
		{"Country", lead.CountryCode},
		{"Language", lead.LanguageCode},
		{"Click id", lead.ClickID},
		{"Sub-campaign", lead.SubCampaign},
		{"Placement", lead.Placement},
		{"Keyword", lead.Keyword},
		{"Second source", lead.Sub2},
		{"Landing page", lead.ReferralURL},
		{"IP address", address},
		{"Device", strings.TrimSpace(lead.DeviceType + " " + lead.DeviceName)},
		{"System", lead.OSName},
		{"Browser", lead.Browser},
		{"Connection", string(lead.Carrier)},
		{"Terms accepted", yes[lead.AcceptTermsAndConditions]},
		{"Promotions accepted", yes[lead.AcceptPromotions]},
		{"Comment", lead.Comment},
	} {
		if f.Value != "" {
			all = append(all, f)
		}
	}
	return all
}

func (a *admin) retry(w http.ResponseWriter, r *http.Request) {
	a.done(w, r, "retried", a.Outbox.Retry(r.Context(), r.PathValue("id"), by(r)))
}

func (a *admin) giveUp(w http.ResponseWriter, r *http.Request) {
	a.done(w, r, "given-up", a.Outbox.GiveUp(r.Context(), r.PathValue("id"), by(r)))
}

// correct changes the fields that the operator has changed. So it does not undo
// what the visitor has corrected meanwhile.
func (a *admin) correct(w http.ResponseWriter, r *http.Request) {
	v := detailsView{
		Email: strings.TrimSpace(r.PostFormValue("email")), Phone: strings.TrimSpace(r.PostFormValue("phone")),
	}
	c := outbox.Correction{Email: v.Email, Phone: v.Phone}
	if c.Email == r.PostFormValue("old-email") {
		c.Email = ""
	} else if c.Email == "" {
		v.Faults = append(v.Faults, fault{"email", "The email is missing."})
	}
	if c.Phone == r.PostFormValue("old-phone") {
		c.Phone = ""
	} else if c.Phone == "" {
		v.Faults = append(v.Faults, fault{"phone", "The phone is missing."})
	}
	if c == (outbox.Correction{}) && v.Faults == nil {
		v.Faults = []fault{{"email", "Nothing was changed. Change the email or the phone, or use Retry now."}}
	}
	var err error
	if v.Faults == nil {
		err = a.Outbox.Correct(r.Context(), r.PathValue("id"), c, by(r))
	}
	if invalid, ok := errors.AsType[*clixnow.ValidationError](err); ok {
		for _, f := range invalid.Fields {
			text := "The " + f.Field + " " + f.Problem + "."
			if f.Code == clixnow.ProblemEmail {
				text = "The email must be one address, such as anna@example.com."
			}
			v.Faults = append(v.Faults, fault{f.Field, text})
		}
	}
	if v.Faults != nil {
		a.showDetails(w, r, http.StatusUnprocessableEntity, v)
		return
	}
	a.done(w, r, "corrected", err)
}

// done shows the page of the sign-up after an action.
func (a *admin) done(w http.ResponseWriter, r *http.Request, action string, err error) {
	id := r.PathValue("id")
	switch {
	case errors.Is(err, outbox.ErrWrongStatus), errors.Is(err, outbox.ErrInDoubt):
		a.conflict(w, r, action, err)
	case err != nil:
		a.fail(w, r, err)
	default:
		a.log(r, map[string]string{
			"retried": "retried a sign-up", "corrected": "corrected a sign-up", "given-up": "given a sign-up up",
		}[action], "id", id)
		//nolint:gosec // G710: there is a sign-up with this id
		http.Redirect(w, r, "/signups/"+id+"?done="+action, http.StatusSeeOther)
	}
}

// conflict says why the outbox has refused an action.
func (a *admin) conflict(w http.ResponseWriter, r *http.Request, action string, because error) {
	s, err := a.Outbox.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	v := problemView{
		head: a.head(r, "This did not work"), Link: "Back to the sign-up",
		Text: "This is not possible any more: the status of the sign-up has changed.",
	}
	v.Back = "/signups/" + s.ID
	switch {
	case errors.Is(because, outbox.ErrInDoubt): // that may have ended since
		v.Text = cmp.Or(notCorrectable(*s), beingTried)
	case action != "given-up" && s.Status == outbox.Refused:
		v.Text = "The visitor has signed up again with the same click id. Only the newer sign-up can be retried or " +
			"corrected."
		v.Back, v.Link = filter{Search: s.Lead.ClickID}.Link("/"), "Show the sign-ups with this click id"
	}
	v.Text += " Nothing was done."
	a.show(w, r, http.StatusConflict, "problem.html", v)
}
