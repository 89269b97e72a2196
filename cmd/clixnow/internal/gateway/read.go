package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go"
)

// maxBody is the limit of a request in bytes. The query of a landing page can
// have several thousand.
const maxBody = 64 << 10

const byteOrderMark = "\ufeff"

// errUnreadable means that a request is not a sign-up.
var errUnreadable = errors.New("the request cannot be read")

// readSignup reads a sign-up from JSON or from a form. The names of the fields
// are those of the API, also in other spellings. See rename. Further fields are
// ignored, except landing, which is the URL of the landing page as the visitor
// opened it.
func readSignup(w http.ResponseWriter, r *http.Request) (req clixnow.CreateLeadRequest, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return req, unreadable("read the request", err)
	}
	body = bytes.TrimPrefix(body, []byte(byteOrderMark))
	kind, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var landing string
	switch {
	case kind == "application/json", strings.HasSuffix(kind, "+json"),
		bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")):
		if err := req.UnmarshalJSON(renameJSON(body)); err != nil {
			_, text, _ := strings.Cut(err.Error(), "request: ")
			return req, unreadable("read the JSON", errors.New(text))
		}
		landing, _ = req.Extra["landing"].(string)
		req.Extra = nil // visitors must not set fields that the SDK does not know
	case kind == "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return req, unreadable("read the form", err)
		}
		req, landing = fromForm(values)
	case kind == "multipart/form-data":
		form, err := multipart.NewReader(bytes.NewReader(body), parameters["boundary"]).ReadForm(maxBody)
		if err != nil {
			return req, unreadable("read the form", err)
		}
		_ = form.RemoveAll() // all of it is in memory
		req, landing = fromForm(form.Value)
	default:
		return req, unreadable("read the request", errors.New("the Content-Type must be application/json, "+
			"application/x-www-form-urlencoded or multipart/form-data"))
	}
	track(&req, r.URL.String(), landing)
	dropUnusable(&req)
	for _, field := range []*string{&req.FirstName, &req.LastName, &req.Email, &req.Phone, &req.CountryCode} {
		*field = strings.TrimSpace(*field) // the keyboards of phones add spaces
	}
	return req, nil
}

func unreadable(action string, err error) error {
	return fmt.Errorf("%w: %s: %w", errUnreadable, action, err)
}

// fromForm returns the sign-up and the landing URL of a form.
func fromForm(values url.Values) (req clixnow.CreateLeadRequest, landing string) {
	form := make(url.Values, len(values))
	for name, texts := range values {
		name = strings.TrimPrefix(name, byteOrderMark)
		for _, text := range texts {
			form.Add(name, strings.TrimPrefix(text, byteOrderMark))
		}
	}
	rename(form)
	for name, field := range map[string]*string{
		"firstName": &req.FirstName, "lastName": &req.LastName, "email": &req.Email, "phone": &req.Phone,
		"password": &req.Password, "countryCode": &req.CountryCode, "languageCode": &req.LanguageCode,
		"referralUrl": &req.ReferralURL, "subCampaign": &req.SubCampaign, "placement": &req.Placement,
		"keyword": &req.Keyword, "sub2": &req.Sub2, "clickId": &req.ClickID, "deviceType": &req.DeviceType,
		"deviceName": &req.DeviceName, "osName": &req.OSName, "browser": &req.Browser,
		"carrier": (*string)(&req.Carrier), "comment": &req.Comment,
	} {
		*field = form.Get(name)
	}
	req.AcceptTermsAndConditions = isChecked(form["acceptTermsAndConditions"])
	req.AcceptPromotions = isChecked(form["acceptPromotions"])
	// a wrong one must not cost the sign-up
	req.IPAddress, _ = netip.ParseAddr(strings.TrimSpace(form.Get("ipAddress")))
	return req, form.Get("landing")
}

// fieldNames returns the names of the fields by their folded spelling.
var fieldNames = sync.OnceValue(func() map[string]string { //nolint:gochecknoglobals // a constant
	names := make(map[string]string)
	for _, name := range []string{
		"firstName", "lastName", "email", "phone", "password", "countryCode", "languageCode", "referralUrl",
		"subCampaign", "placement", "keyword", "sub2", "clickId", "deviceType", "deviceName", "osName", "browser",
		"carrier", "comment", "acceptTermsAndConditions", "acceptPromotions", "ipAddress", "landing",
	} {
		names[fold(name)] = name
	}
	return names
})

// fold returns a spelling that click_id, click-id and ClickID share.
func fold(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
}

// rename gives fields in another spelling, such as click_id, their names. A
// field that has its name already comes first. It reports whether it has
// renamed any.
func rename[M ~map[string]V, V any](fields M) (renamed bool) {
	for _, spelling := range slices.Sorted(maps.Keys(fields)) {
		name := fieldNames()[fold(spelling)]
		if _, found := fields[name]; name == "" || found {
			continue
		}
		fields[name] = fields[spelling]
		delete(fields, spelling)
		renamed = true
	}
	return renamed
}

// renameJSON is rename for a JSON object. It does not change other values.
func renameJSON(body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || !rename(fields) {
		return body
	}
	renamed, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	return renamed
}

// isChecked reports whether a checkbox is checked. Many pages have a hidden
// field of the same name before it.
func isChecked(values []string) bool {
	return slices.ContainsFunc(values, func(value string) bool {
		return slices.Contains([]string{"true", "on", "yes", "1"}, strings.ToLower(value))
	})
}

// track sets the fields for tracking. The values of the request come before
// those of the landing URL and of the URL that the request was sent to. The
// click id is different: that of a URL comes from a tracker, and that of the
// request may only be there to recognise a double click.
//
// A broken value must not cost the sign-up, so Apply leaves it out. A macro
// such as {clickid}, which all visitors would have, is left out too.
func track(req *clixnow.CreateLeadRequest, address, landing string) {
	sent := clixnow.LandingURL{
		SubCampaign: req.SubCampaign, Sub2: req.Sub2, Keyword: req.Keyword, ClickID: req.ClickID,
		Placement: req.Placement,
	}
	req.SubCampaign, req.Sub2, req.Keyword, req.ClickID, req.Placement = "", "", "", "", ""
	fromURL := clixnow.CreateLeadRequest{}
	for _, text := range []string{landing, address} {
		visit, err := clixnow.ParseLandingURL(text)
		if err != nil {
			continue
		}
		if text == address {
			visit.Page = "" // this is the address of the gateway
		}
		visit.Apply(&fromURL)
	}
	req.ClickID = fromURL.ClickID
	sent.Apply(req)
	clixnow.LandingURL{
		SubCampaign: fromURL.SubCampaign, Sub2: fromURL.Sub2, Keyword: fromURL.Keyword, Placement: fromURL.Placement,
	}.Apply(req)
	if req.ReferralURL == "" {
		req.ReferralURL = fromURL.ReferralURL
	}
}

// dropUnusable empties optional texts that no database can hold, or that are
// longer than the outbox saves. The visitor did not type them, so they must not
// cost the sign-up. The click id stays, and the outbox refuses it: without it,
// a double click would be two sign-ups.
func dropUnusable(req *clixnow.CreateLeadRequest) {
	const longest = 1000
	for _, field := range []*string{
		&req.LanguageCode, &req.SubCampaign, &req.Placement, &req.Keyword, &req.Sub2, &req.DeviceType, &req.DeviceName,
		&req.OSName, &req.Browser, (*string)(&req.Carrier), &req.ReferralURL,
	} {
		limit := longest
		if field == &req.ReferralURL {
			limit = 20 * longest
		}
		if strings.ContainsRune(*field, 0) || utf8.RuneCountInString(*field) > limit {
			*field = ""
		}
	}
}
