package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// This file is the client that a careful user writes by hand. It has typed
// fields, reads both forms of ids and dates, checks statuses, and reuses
// connections. It has no retries and no limits, and loses leads that move.

// leadOf has the fields of the vendor's page. Text reads a text or a number.
// Date reads a date with or without a zone.
type leadOf[Text ~string, Date dateType] struct {
	ID          int64  `json:"id"`
	Email       string `json:"email"`
	Status      string `json:"status"`
	CRMID       Text   `json:"crmId"`
	BrandID     int64  `json:"brandId"`
	BrandName   string `json:"brandName"`
	CreatedOn   Date   `json:"createdOn"`
	UpdatedOn   Date   `json:"updatedOn"`
	FTDDate     *Date  `json:"ftdDate"`
	ClickID     Text   `json:"clickId"`
	Sub2        string `json:"sub2"`
	SubCampaign string `json:"subCampaign"`
	Keyword     string `json:"keyword"`
	Placement   string `json:"placement"`
	ClientType  string `json:"clientType"`
}

func (l *leadOf[Text, Date]) show(t *tally) {
	times := [3]time.Time{l.CreatedOn.UTC(), l.UpdatedOn.UTC()}
	if l.FTDDate != nil {
		times[2] = (*l.FTDDate).UTC()
	}
	t.lead(l.ID, l.BrandID, times, l.Email, l.Status, string(l.CRMID), l.BrandName,
		string(l.ClickID), l.Sub2, l.SubCampaign, l.Keyword, l.Placement, l.ClientType)
}

// dateType is a type that embeds a time.Time.
type dateType interface{ UTC() time.Time }

// These are the types that use nothing but encoding/json.
type (
	handLead     = leadOf[flexText, flexTime]
	handResponse = responseOf[flexText]
)

// flexText accepts a text or a number.
type flexText string

func (t *flexText) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if data[0] != '"' {
		*t = flexText(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(t))
}

// flexTime accepts a date with or without a zone.
type flexTime struct{ time.Time }

func (t *flexTime) UnmarshalJSON(data []byte) (err error) {
	if string(data) == "null" {
		return nil
	}
	if len(data) < 2 || data[0] != '"' {
		return fmt.Errorf("a date, not %.20s", data)
	}
	t.Time, err = parseDate(string(data[1 : len(data)-1]))
	return err
}

func parseDate(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Parse("2006-01-02T15:04:05", text) // it also accepts a fraction
	}
	return t.UTC(), nil
}

type handRequest struct {
	FirstName                string `json:"firstName"`
	LastName                 string `json:"lastName"`
	Email                    string `json:"email"`
	Phone                    string `json:"phone"`
	Password                 string `json:"password"`
	CountryCode              string `json:"countryCode"`
	LanguageCode             string `json:"languageCode,omitempty"`
	AcceptTermsAndConditions bool   `json:"acceptTermsAndConditions,omitzero"`
	AcceptPromotions         bool   `json:"acceptPromotions,omitzero"`
	ReferralURL              string `json:"referralUrl,omitempty"`
	SubCampaign              string `json:"subCampaign,omitempty"`
	Placement                string `json:"placement,omitempty"`
	Keyword                  string `json:"keyword,omitempty"`
	Sub2                     string `json:"sub2,omitempty"`
	ClickID                  string `json:"clickId,omitempty"`
	DeviceType               string `json:"deviceType,omitempty"`
	DeviceName               string `json:"deviceName,omitempty"`
	OSName                   string `json:"osName,omitempty"`
	Browser                  string `json:"browser,omitempty"`
	Carrier                  string `json:"carrier,omitempty"`
	IPAddress                string `json:"ipAddress,omitempty"`
	Comment                  string `json:"comment,omitempty"`
}

type responseOf[Text ~string] struct {
	LeadID      int64  `json:"leadId"`
	RedirectURL string `json:"redirectUrl"`
	SubCampaign string `json:"subCampaign"`
	Placement   string `json:"placement"`
	Keyword     string `json:"keyword"`
	Sub2        string `json:"sub2"`
	ClickID     string `json:"clickId"`
	CRMID       Text   `json:"crmId"`
}

func handWrittenLead() *handRequest {
	return &handRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH", LanguageCode: "EN", ReferralURL: "https://website.com",
		SubCampaign: "subcampaign", Keyword: "test", Placement: "landing_page", ClickID: "20fn4ngo56n3snf74",
		Sub2:       "sub2",
		DeviceType: "Mobile", DeviceName: "iPhone16", OSName: "iOS", Browser: "Safari Mobile", Carrier: "Mobile",
		IPAddress: "1.1.1.1",
	}
}

// codec is how a hand-written client encodes and decodes.
type codec[Text ~string, Date dateType] struct {
	encode  func(*handRequest) ([]byte, error)
	leads   func(*http.Response) ([]leadOf[Text, Date], error)
	created func(*http.Response) (responseOf[Text], error)
}

// standardCodec uses encoding/json.
func standardCodec() codec[flexText, flexTime] {
	return codec[flexText, flexTime]{encode, decode[[]handLead], decode[handResponse]}
}

func encode(lead *handRequest) ([]byte, error) {
	return json.Marshal(lead) //nolint:gosec // the API wants the password like this
}

func decode[V any](resp *http.Response) (v V, err error) {
	err = json.NewDecoder(resp.Body).Decode(&v)
	return v, err
}

func newHandWritten(baseURL string) (client, error) { return newHand(standardCodec())(baseURL) }

func newHandWrittenOnDefault(baseURL string) (client, error) {
	return handClient(baseURL, http.DefaultClient, standardCodec()), nil
}

// newHandWrittenKept keeps as many idle connections as the SDK.
func newHandWrittenKept(baseURL string) (client, error) {
	transport := newTransport()
	transport.MaxIdleConnsPerHost = 64
	return handClient(baseURL, &http.Client{Transport: transport, Timeout: 30 * time.Second}, standardCodec()), nil
}

// newHand returns a function that makes a hand-written client with a codec.
func newHand[Text ~string, Date dateType](c codec[Text, Date]) func(baseURL string) (client, error) {
	return func(baseURL string) (client, error) {
		return handClient(baseURL, &http.Client{Transport: newTransport(), Timeout: 30 * time.Second}, c), nil
	}
}

func handClient[Text ~string, Date dateType](baseURL string, hc *http.Client, c codec[Text, Date]) client {
	return client{read: handRead(baseURL, hc, c.leads), create: handCreate(baseURL, hc, c)}
}

// handRead returns a function that reads all leads.
func handRead[Text ~string, Date dateType](
	baseURL string, hc *http.Client, decode func(*http.Response) ([]leadOf[Text, Date], error),
) func(ctx context.Context, t *tally) error {
	return func(ctx context.Context, t *tally) error {
		return pages(ctx, func(ctx context.Context, skip int) ([]leadOf[Text, Date], error) {
			req, err := newSearch(ctx, baseURL, skip)
			if err != nil {
				return nil, err
			}
			return do(hc, req, decode)
		}, func(l *leadOf[Text, Date]) { l.show(t) })
	}
}

// handCreate returns a function that creates one lead.
func handCreate[Text ~string, Date dateType](
	baseURL string, hc *http.Client, c codec[Text, Date],
) func(ctx context.Context) error {
	lead := handWrittenLead()
	return func(ctx context.Context) error {
		body, err := c.encode(lead)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, baseURL+leadsPath, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "ApiToken "+token)
		req.Header.Set("Content-Type", "application/json")
		created, err := do(hc, req, c.created)
		if err != nil {
			return err
		}
		return checkID(created.LeadID)
	}
}

const (
	leadsPath  = "/api/system/v1/leads"
	searchPath = leadsPath + "/search"
)

func newSearch(ctx context.Context, baseURL string, skip int) (*http.Request, error) {
	query := url.Values{"orderBy": {"Id"}, "count": {strconv.Itoa(pageSize)}, "skip": {strconv.Itoa(skip)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL+searchPath+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "ApiToken "+token)
	req.Header.Set("Accept", "application/json")
	return req, nil
}

func do[V any](hc *http.Client, req *http.Request, decode func(*http.Response) (V, error)) (v V, err error) {
	resp, err := hc.Do(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return v, fmt.Errorf("%s: %s", resp.Status, text)
	}
	if v, err = decode(resp); err != nil {
		return v, err
	}
	_, err = io.Copy(io.Discard, resp.Body) // to the end, or the connection is not reused
	return v, err
}
